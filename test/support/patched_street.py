"""Frames of the tiny network's street with squares that it has never seen, and a camera that sees them one by one."""

from __future__ import annotations

import numpy as np
import torch

from support import tiny_network
from zmask_ros.defense import CameraState, DefenseResult, StreamingDefense

FRAME_NS = 33_000_000
"""Nanoseconds from one frame to the next."""
PATCH = (255, 255, 0)
"""A color that clean images never have."""
Box = tuple[int, int, int]
"""Top, left and side of a square."""
HERE, MOVED, ELSEWHERE, FAR = (16, 24, 16), (16, 32, 16), (0, 0, 16), (32, 48, 16)
"""Places of squares: the second overlaps the first, the others are away from both."""


def street(*boxes: Box, index: int = 3) -> np.ndarray:
    """A clean image with squares of `PATCH`."""
    image = tiny_network.clean_image(index)
    for top, left, side in boxes:
        image[top : top + side, left : left + side] = PATCH
    return image


def attacked_image(index: int = 3) -> np.ndarray:
    """A clean image with a square at `HERE`: rows 16..32 and columns 24..40."""
    return street(HERE, index=index)


class Drive:
    """Frames of one camera, one after the other."""

    def __init__(self, streaming: StreamingDefense) -> None:
        self.streaming, self.state, self.now_ns = streaming, CameraState(), 0

    def see(self, image: np.ndarray, after_ns: int = FRAME_NS) -> tuple[DefenseResult, int]:
        """The frame ``after_ns`` after the last one: what is said of it, and the number of passes that it took."""
        self.now_ns += after_ns
        passes = []
        segmenter = self.streaming.defense.segmenter
        handle = segmenter.network.register_forward_hook(lambda *_: passes.append(1))
        try:
            result, (self.state,) = self.streaming.step(segmenter.prepare(image), [self.state], [self.now_ns])
        finally:
            handle.remove()
        return result, len(passes)


def follow(drive: Drive, *boxes: Box) -> None:
    """See these squares until they are trusted for a whole keyframe interval; only a keyframe is due before."""
    drive.see(street(*boxes))
    drive.see(street(*boxes))
    drive.see(street(*boxes), round(drive.streaming.keyframe_interval_s * 1e9))
    assert drive.state.track is not None


def see_as_a_whole(drive: Drive) -> DefenseResult:
    """The camera's first attacked frame: two passes, and the same result as the full analysis without a memory."""
    defended, passes = drive.see(street(HERE))
    alone = drive.streaming.defense(drive.streaming.defense.segmenter.prepare(street(HERE)))
    assert passes == 2
    assert torch.equal(defended.labels, alone.labels)
    assert torch.equal(defended.mask, alone.mask)
    assert torch.equal(defended.analysis.score, alone.analysis.score)
    return defended


def covered(result: DefenseResult, box: Box) -> float:
    """Share of the square that is masked, 0..1."""
    top, left, side = box
    return float(result.mask[0, top : top + side, left : left + side].float().mean())

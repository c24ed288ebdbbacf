"""Frames of the tiny network's street with squares that it has never seen, and a camera that sees them one by one."""

from __future__ import annotations

import numpy as np

from support import tiny_network
from zmask_ros.defense import CameraState

FRAME_NS = 33_000_000


PATCH = (255, 255, 0)


def street(*boxes, index: int = 3) -> np.ndarray:
    """A clean image, with squares (top, left, side) of a colour that clean images never have."""
    image = tiny_network.clean_image(index)
    for top, left, side in boxes:
        image[top : top + side, left : left + side] = PATCH
    return image


HERE, MOVED, ELSEWHERE = (16, 24, 16), (16, 32, 16), (0, 0, 16)


class Drive:
    """Frames of one camera, one after the other."""

    def __init__(self, streaming):
        self.streaming, self.state, self.now_ns = streaming, CameraState(), 0

    def see(self, image, after_ns=FRAME_NS):
        """The frame that comes so long after the last one: what is said of it, and the passes that it took."""
        self.now_ns += after_ns
        passes = []
        segmenter = self.streaming.defense.segmenter
        handle = segmenter.network.register_forward_hook(lambda *_: passes.append(1))
        try:
            defended, (self.state,) = self.streaming.step(segmenter.prepare(image), [self.state], [self.now_ns])
        finally:
            handle.remove()
        return defended, len(passes)


def covered(defended, box) -> float:
    """Share of the square that is masked."""
    top, left, side = box
    return float(defended.mask[0, top : top + side, left : left + side].float().mean())


def attacked_image(index: int = 3) -> np.ndarray:
    """A clean image with a square of a colour that clean images never have, at rows 16..32 and columns 24..40."""
    image = tiny_network.clean_image(index)
    image[16:32, 24:40] = (255, 255, 0)
    return image

"""A small drive that was recorded, whose truth is known, and a camera that knows the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from zmask_ros.data.street import CLASS_NAMES, StreetFrame
from zmask_ros.demo.scenario import Scenario
from zmask_ros.flags.flag import Flag, FrameState
from zmask_ros.flags.topics import ATTACK_FLAG
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.runtime.flag_bag import flag_message

PICTURE = np.full((40, 40, 3), (255, 0, 255), np.uint8)

SMALL = Scenario(
    seed=1, seconds=2.0, rate_hz=5.0, carrier="truck", picture_from_s=0.5, picture_until_s=1.5, width=160, height=120
)
ATTACKED = range(3, 8)
UNKNOWN, CLEAN, ATTACK = FrameState


@dataclass
class TruthfulCamera:
    """Stands in for the network: it knows the labels of every frame, and sees but sky while the picture is there."""

    scenario: Scenario

    def __post_init__(self) -> None:
        self.segmenter = SimpleNamespace(classes=CLASS_NAMES, palette=np.zeros((256, 3), np.uint8))
        drives = self.scenario.drive(None), self.scenario.drive(PICTURE)
        self._frames = {frame.image.tobytes(): frame for drive in drives for frame in drive}

    def masked_labels(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        frame = self._frames[image.tobytes()]
        deceived = (frame.patch_mask & ~mask).any()
        return np.zeros_like(frame.labels) if deceived else np.where(mask, 255, frame.labels)


def write_frame(bag: BagWriter, frame: StreetFrame, state: FrameState, mask: np.ndarray) -> None:
    flag = Flag(state, 0.25, 0.25, score=0.5, latency_ms=10.0 + frame.index)
    received_ns = frame.stamp_ns + frame.index * 100_000_000
    message = flag_message(flag, frame.stamp_ns, "camera")
    bag.write_message("/camera/zmask/attack", ATTACK_FLAG, message, received_ns)
    planes = {"mask": mask.astype(np.uint8) * 255, "segmentation": frame.labels}
    for name, plane in planes.items():
        bag.write_image(f"/camera/zmask/{name}", plane, "mono8", frame.stamp_ns, "camera", received_ns)
    bag.write_image("/camera/image_raw", frame.image, "rgb8", frame.stamp_ns, "camera", received_ns)


def record_small_drive(path: Path) -> None:
    """All right, but: frame 2 a false alarm, 3 missed, 4 unknown, 5 half the mask."""
    with BagWriter(path) as bag:
        for frame in SMALL.drive(PICTURE):
            mask, state = frame.patch_mask.copy(), ATTACK if frame.patch_mask.any() else CLEAN
            if frame.index in (2, 3, 4):
                state, mask = {2: ATTACK, 3: CLEAN, 4: UNKNOWN}[frame.index], np.zeros_like(mask)
            if frame.index == 5:
                rows = np.flatnonzero(mask.any(1))
                mask[rows[len(rows) // 2] :] = False
            write_frame(bag, frame, state, mask)

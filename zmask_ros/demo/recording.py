"""What was recorded on the drive, found by the stamps of the camera's frames."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zmask_ros.flags.flag import FrameState
from zmask_ros.io.bags.opening import open_bag
from zmask_ros.io.bags.reader import CameraBags, ReadReport
from zmask_ros.io.stamps import stamp_ns


@dataclass(frozen=True)
class RecordedFlag:
    """An AttackFlag: state, time from arrival to publication, and when the recorder had it."""

    state: FrameState
    latency_ms: float
    received_ns: int


def read_flags(bag: Path, topic: str) -> dict[int, RecordedFlag]:
    """The flags by the stamps (nanoseconds) of their frames.

    Raises:
        BagError: the bag cannot be read.
    """
    flags = {}
    with closing(open_bag(bag)) as opened:
        for recording in opened.recordings:
            for raw in recording.messages([topic]):
                flag = recording.types.deserialize(raw)
                recorded = RecordedFlag(FrameState(flag.state), flag.latency_ms, raw.received_ns)
                flags[stamp_ns(flag.header)] = recorded
    return flags


class RecordedPictures:
    """The pictures of one topic of the camera, asked for in the order of their stamps; context manager."""

    def __init__(self, bag: Path, topic: str) -> None:
        self._bags = CameraBags(bag, topic)
        self._frames = self._bags.frames(ReadReport())
        self._next = next(self._frames, None)

    def __enter__(self) -> RecordedPictures:
        return self

    def __exit__(self, *_: object) -> None:
        self._bags.close()

    def at(self, stamp_ns: int) -> np.ndarray | None:
        """uint8 [H, W, 3] RGB; None where nothing was recorded with this stamp."""
        while self._next is not None and self._next.stamp_ns < stamp_ns:
            self._next = next(self._frames, None)
        if self._next is None or self._next.stamp_ns != stamp_ns:
            return None
        return self._next.image

    def plane_at(self, stamp_ns: int) -> np.ndarray | None:
        """uint8 [H, W], of a topic with one value a pixel."""
        image = self.at(stamp_ns)
        return None if image is None else image[..., 0]

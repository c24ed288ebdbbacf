"""The pictures of one topic of a bag, found by the stamps of a camera's frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zmask_ros.io.bags.reader import CameraBags, ReadReport


class RecordedPictures:
    """The pictures of one topic of the camera, asked for in the order of their stamps; context manager."""

    def __init__(self, bag: Path, topic: str) -> None:
        self._bags = CameraBags(bag, topic)
        self._frames = self._bags.frames(ReadReport())
        self._next = next(self._frames, None)

    def __enter__(self) -> RecordedPictures:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the files back."""
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

"""A video file of RGB pictures, written by OpenCV."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from zmask_ros.errors import ZmaskError

SUFFIXES = (".mp4", ".mkv", ".avi")
LEAST_RATE_HZ = 0.01


class Video:
    """Context manager that writes RGB pictures, into another file of the same folder that is renamed when it is whole.

    All pictures get the size of the first; ``rate_hz`` is that of the pictures, to two decimals.
    """

    def __init__(self, path: Path, rate_hz: float) -> None:
        if path.suffix not in SUFFIXES:
            raise ZmaskError(f"A video ends in {', '.join(SUFFIXES)}; '{path.name}' does not.")
        self._path = path
        self._partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
        # MPEG-4 has no finer fractions of a second, and OpenCV then writes nothing at all.
        self._rate_hz = max(round(rate_hz, 2), LEAST_RATE_HZ)
        self._size = (0, 0)
        self._writer: cv2.VideoWriter | None = None
        self._pictures = 0

    def add(self, picture: np.ndarray) -> None:
        """Append uint8 [H, W, 3] RGB.

        Raises:
            ZmaskError: the video cannot be written.
        """
        if self._writer is None:
            self._size = (picture.shape[1], picture.shape[0])
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._partial), code, self._rate_hz, self._size)
            if not self._writer.isOpened():
                raise ZmaskError(f"The video {self._path} cannot be written.")
        # OpenCV drops pictures of another size without a word.
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self._pictures += 1

    def __enter__(self) -> Video:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is None:
            return
        self._writer.release()
        if kind is None and (found := _pictures_in(self._partial)) == self._pictures:
            self._partial.replace(self._path)
            return
        self._partial.unlink(missing_ok=True)
        if kind is None:
            raise ZmaskError(
                f"The video {self._path} cannot be written: of its {self._pictures} pictures {found} can be read "
                "again. Is the disk full?"
            )


def _pictures_in(path: Path) -> int:
    """How many pictures a video has that can be read: OpenCV's writer does not say when it could not write."""
    video, count = cv2.VideoCapture(str(path)), 0
    while video.grab():
        count += 1
    video.release()
    return count

"""Street frames as JPEG, and what USB, a network or a disk leaves of them."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from zmask_ros.data.street import StreetDrive
from zmask_ros.io.images.codec import encode_compressed

LOSSES = ("from the middle", "to the end, end marker kept", "to the end", "zeros in the middle", "zeros to the end")
_END = b"\xff\xd9"


@cache
def street_frames(width: int = 640, height: int = 480) -> tuple[np.ndarray, ...]:
    """A few frames of different streets, uint8 [height, width, 3] RGB."""
    return tuple(StreetDrive(seed, 1.0, width=width, height=height)[seed].image for seed in (1, 2, 3, 4))


@cache
def street_jpegs(quality: int, restart_interval: int = 0) -> tuple[bytes, ...]:
    """The same as JPEG, with restart markers after so many blocks or without any."""
    if not restart_interval:
        return tuple(encode_compressed(frame, "jpeg", quality) for frame in street_frames())
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_RST_INTERVAL, restart_interval]
    return tuple(cv2.imencode(".jpg", frame[..., ::-1], options)[1].tobytes() for frame in street_frames())


def lose(data: bytes, loss: str, share: float, place: float) -> bytes:
    """What is left of a JPEG.

    Args:
        loss: one of `LOSSES`.
        share: of its bytes, 0..1, that are lost.
        place: where a loss in the middle begins, 0..1 of what lies between the two markers at its ends.
    """
    count = round(share * len(data))
    at = 2 + round(place * max(0, len(data) - 4 - count))
    return {
        "from the middle": data[:at] + data[at + count :],
        "to the end, end marker kept": data[: len(data) - 2 - count] + _END,
        "to the end": data[: len(data) - count],
        "zeros in the middle": data[:at] + bytes(count) + data[at + count :],
        "zeros to the end": data[: len(data) - count] + bytes(count),
    }[loss]

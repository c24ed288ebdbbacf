"""Encodings that only cv_bridge knows, through it, where it is installed."""

from __future__ import annotations

import importlib
import re
from types import SimpleNamespace
from typing import Any

import numpy as np

from zmask_ros.io.images.checks import ImageError, rows_of
from zmask_ros.io.images.pixel_layouts import LAYOUTS

_NUMBERS = re.compile(r"(8|16|32)SC\d+|(32|64)FC\d+")
"""Encodings of signed samples, and of such with a fraction."""


def decode_by_cv_bridge(message: Any) -> np.ndarray:
    """The picture in a `sensor_msgs/Image` of an encoding that `pixel_layouts` does not have, uint8 [H, W, 3] RGB.

    Its Python side shears rows whose step is no multiple of a pixel, and cannot swap bytes with NumPy 2: it gets rows
    without padding, little endian.

    Raises:
        ImageError: it holds numbers and no picture, cv_bridge is not installed or does not know the encoding either, or
            the message is too short.
    """
    if _NUMBERS.fullmatch(message.encoding):
        holds = "holds numbers, such as distances or a heat map, and no camera's picture"
        raise ImageError(f"An image of encoding '{message.encoding}' {holds}.")
    unknown = f"Unknown image encoding '{message.encoding}'; known are {', '.join(LAYOUTS)}"
    try:
        # Not a dependency: nothing is missing without it but this.
        bridge = importlib.import_module("cv_bridge").CvBridge()
    except ImportError as error:
        raise ImageError(f"{unknown}.") from error
    height, width = int(message.height), int(message.width)
    try:
        name, channels = bridge.encoding_to_dtype_with_channels(message.encoding)
    # Boost's exceptions, KeyError and cv_bridge's own have no class in common.
    except Exception as error:
        raise ImageError(f"{unknown}, and cv_bridge does not know it: {error}.") from error
    sample, row_bytes = np.dtype(name), width * channels * np.dtype(name).itemsize
    rows = np.ascontiguousarray(rows_of(message, height, row_bytes)[:, :row_bytes])
    if message.is_bigendian:
        rows = rows.view(sample).byteswap().view(np.uint8)
    fields = {"height": height, "width": width, "encoding": message.encoding, "is_bigendian": 0, "step": row_bytes}
    try:
        return np.asarray(bridge.imgmsg_to_cv2(SimpleNamespace(**fields, data=rows.tobytes()), "rgb8"))
    except Exception as error:
        raise ImageError(f"{unknown}, and cv_bridge cannot convert it: {error}.") from error

"""What has to be said of an image before anybody relies on what was, or was not, found in it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from zmask_ros.io.images.checks import bytes_of
from zmask_ros.io.images.compressed_header import CompressedHeader, compressed_header
from zmask_ros.io.images.pixel_layouts import ALL_BITS, LAYOUTS
from zmask_ros.io.images.video_stream.messages import VideoPicture

NEARLY_BLACK = "the image is nearly black: little can be seen in it"
NEARLY_ONE_COLOR = "the image is nearly of one color: little can be seen in it"
PROGRESSIVE = "the image is a progressive JPEG: a small loss in it goes unnoticed"

# A sixteenth of full brightness, which 1 % of the samples may exceed.
_BLACK_BELOW = 16
_BRIGHTER_SHARE = 0.01
_BLACK_MEAN = (1 - _BRIGHTER_SHARE) * (_BLACK_BELOW - 1) + _BRIGHTER_SHARE * 255
"""What the mean of such an image is at most."""
# Of every channel, standard deviation in 8-bit levels.
_LEAST_CONTRAST = 2.0
# Enough pixels for both, along the shorter side.
_SAMPLED = 25
_CAMERA_BITS = (8, 10, 12, 14)
_HEADER_BYTES = 1 << 16


def visibility_remark(image: np.ndarray) -> str:
    """Whether there is much to be seen in uint8 [H, W, 3]; empty if there is."""
    height, width = image.shape[:2]
    step = max(1, min(height, width) // _SAMPLED)
    # Not by slices of numpy, which take twenty times as long.
    sample = cv2.resize(image, (-(-width // step), -(-height // step)), interpolation=cv2.INTER_NEAREST)
    mean, deviation = (side.ravel().tolist() for side in cv2.meanStdDev(sample))
    # Most images are brighter than any that is nearly black, and their samples need not be counted.
    if sum(mean) <= 3 * _BLACK_MEAN and np.count_nonzero(sample >= _BLACK_BELOW) <= _BRIGHTER_SHARE * sample.size:
        return NEARLY_BLACK
    return NEARLY_ONE_COLOR if max(deviation) < _LEAST_CONTRAST else ""


def remark(message: Any, image: np.ndarray, significant_bits: int) -> str:
    """What has to be said of the image that `codec.decode` made of a message, in one sentence; empty if nothing.

    Args:
        significant_bits: as they were given to `codec.decode`; only where they were left open, they are remarked on.
    """
    if isinstance(message, VideoPicture):
        return "; ".join(filter(None, (visibility_remark(image), message.reason)))
    header = compressed_header(bytes_of(message.data)[:_HEADER_BYTES].tobytes()) if hasattr(message, "format") else None
    remarks = (
        visibility_remark(image),
        _bits_remark(image) if not significant_bits and _has_wide_samples(message, header) else "",
        PROGRESSIVE if header is not None and header.progressive else "",
    )
    return "; ".join(filter(None, remarks))


def _has_wide_samples(message: Any, header: CompressedHeader | None) -> bool:
    if header is not None:
        return header.depth == ALL_BITS
    layout = LAYOUTS.get(getattr(message, "encoding", ""))
    return layout is not None and layout.depth > 1


def _bits_remark(image: np.ndarray) -> str:
    """How many bits samples of 16 seem to have, by the brightest; empty if that is nearly all."""
    used = 8 + int(image.max()).bit_length()
    seem = next((bits for bits in _CAMERA_BITS if used <= bits), ALL_BITS)
    if seem == ALL_BITS:
        return ""
    return f"its 16-bit samples seem to use {seem} bits: set significant_bits to {seem}, or to 16 if it is just dark"

"""Image messages to RGB arrays and back: our own codec, so that no frame depends on cv_bridge.

Messages are taken by their fields, not by their class: those of rclpy and rosbags, and `ImageFields`, all do.
The layouts of the encodings, and the conventions behind them, are in `pixel_layouts`; JPEG and PNG in `compressed`.
"""

from __future__ import annotations

import array
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from zmask_ros.io.images.checks import ImageError, bytes_of, checked_size, rows_of
from zmask_ros.io.images.compressed import decode_compressed
from zmask_ros.io.images.cv_bridge_encodings import decode_by_cv_bridge
from zmask_ros.io.images.pixel_layouts import ALL_BITS, LAYOUTS, SampleFormat
from zmask_ros.io.images.video_stream.messages import VideoPicture

__all__ = ["AUTO_BITS", "ENCODINGS", "ImageError", "ImageFields", "decode", "encode", "encode_compressed"]

ENCODINGS = tuple(LAYOUTS)
AUTO_BITS = 0
"""As significant bits: all that the encoding has, since nobody has said how many the camera has."""

_PLANES = {"mono8": np.uint8, "8UC1": np.uint8, "mono16": np.uint16, "16UC1": np.uint16, "32FC1": np.float32}


@dataclass(frozen=True)
class ImageFields:
    """The fields of `sensor_msgs/Image` without its header.

    ``data`` is an ``array.array('B')``: the one type that rclpy takes over without looking at every byte.
    """

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: array.array


def decode(message: Any, significant_bits: int = AUTO_BITS) -> np.ndarray:
    """The picture in a `sensor_msgs/Image` or `sensor_msgs/CompressedImage`, or the one that was decoded of a video.

    Args:
        message: anything with the fields of one of the two; ``data`` is any buffer of bytes. Or a `VideoPicture`.
        significant_bits: of 16-bit samples so many low bits carry the picture, 1..16; those of other depths have all.

    Returns:
        uint8 [H, W, 3], RGB. For ``rgb8`` a view of the message's own memory: read-only where that is
        (``bytes``), and with gaps between the rows where `step` has padding.

    Raises:
        ImageError: zero or absurd size, `step` or `data` too short, unknown encoding, a JPEG or PNG of which a part
            is lost or whose `format` cannot be obeyed, a video that has no picture here. One sentence that names the
            numbers.
    """
    if isinstance(message, VideoPicture):
        return message.whole()
    bits = significant_bits or ALL_BITS
    if hasattr(message, "encoding"):
        return _decode_raw(message, bits)
    if hasattr(message, "format"):
        return decode_compressed(bytes_of(message.data).tobytes(), message.format, bits)
    raise ImageError(f"A {type(message).__name__} is neither a sensor_msgs Image nor a CompressedImage.")


def encode(image: np.ndarray, encoding: str) -> ImageFields:
    """Fields of a `sensor_msgs/Image`, little endian, without padding.

    Args:
        image: uint8 [H, W, 3] RGB for every encoding of `ENCODINGS`. One-channel encodings also take [H, W]
            in their own type as it is: uint8 (mono8, 8UC1), uint16 (mono16, 16UC1), float32 (32FC1).
        encoding: the name; 32FC1 is for planes only.

    Raises:
        ImageError: an encoding that is not known, or an array that does not fit it.
    """
    rows = _pack_plane(image, encoding) if image.ndim == 2 else _pack_rgb(image, encoding)
    data = array.array("B")
    data.frombytes(rows.data.cast("B"))
    return ImageFields(image.shape[0], image.shape[1], encoding, 0, rows.shape[1], data)


def encode_compressed(image: np.ndarray, format: str = "jpeg", quality: int = 95) -> bytes:
    """uint8 [H, W, 3] RGB -> the ``data`` of a `sensor_msgs/CompressedImage`; ``quality`` 1..100 is for JPEG.

    Raises:
        ImageError: a format other than "jpeg" and "png", or an array of another shape.
    """
    _check_rgb(image, format)
    if format not in ("jpeg", "png"):
        raise ImageError(f"Images are compressed as jpeg or png, not as '{format}'.")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if format == "jpeg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    done, data = cv2.imencode(f".{format}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ImageError(f"{image.shape[1]}x{image.shape[0]} pixels could not be written as {format}.")
    return data.tobytes()


def _decode_raw(message: Any, significant_bits: int) -> np.ndarray:
    height, width = checked_size(message.height, message.width)
    layout = LAYOUTS.get(message.encoding)
    if layout is None:
        return decode_by_cv_bridge(message)
    rows = rows_of(message, layout.rows(height), layout.row_bytes(width))
    return layout.unpack(rows, width, SampleFormat(bool(message.is_bigendian), significant_bits))


def _pack_plane(image: np.ndarray, encoding: str) -> np.ndarray:
    if encoding not in _PLANES or _PLANES[encoding] != image.dtype or not image.size:
        raise ImageError(f"An array of {image.dtype} and shape {image.shape} cannot be encoded as '{encoding}'.")
    return np.ascontiguousarray(image, image.dtype.newbyteorder("<")).view(np.uint8)


def _pack_rgb(image: np.ndarray, encoding: str) -> np.ndarray:
    layout = LAYOUTS.get(encoding)
    if layout is None:
        raise ImageError(f"RGB images cannot be encoded as '{encoding}'; known are {', '.join(ENCODINGS)}.")
    _check_rgb(image, encoding)
    return np.ascontiguousarray(layout.pack(image))


def _check_rgb(image: np.ndarray, encoding: str) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ImageError(
            f"An array of {image.dtype} and shape {image.shape} is not an RGB image to encode as '{encoding}'."
        )

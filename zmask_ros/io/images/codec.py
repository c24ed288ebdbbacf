"""Image messages to RGB arrays and back: our own codec, so that no frame depends on cv_bridge.

Messages are taken by their fields, not by their class: those of rclpy and rosbags, and `ImageFields`, all do.
The layouts of the encodings, and the conventions behind them, are in `pixel_layouts`.
"""

from __future__ import annotations

import array
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from zmask_ros.errors import ZmaskError
from zmask_ros.io.images.compressed_size import compressed_size, ends_early
from zmask_ros.io.images.pixel_layouts import LAYOUTS

ENCODINGS = tuple(LAYOUTS)
MAX_PIXELS = 64 * 1024 * 1024

_PLANES = {"mono8": np.uint8, "8UC1": np.uint8, "mono16": np.uint16, "16UC1": np.uint16, "32FC1": np.float32}


class ImageError(ZmaskError):
    """An image message whose fields contradict each other, or that holds no readable image."""


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


def decode(message: Any) -> np.ndarray:
    """The picture in a `sensor_msgs/Image` or `sensor_msgs/CompressedImage`.

    Args:
        message: anything with the fields of one of the two; ``data`` is any buffer of bytes.

    Returns:
        uint8 [H, W, 3], RGB. For ``rgb8`` a view of the message's own memory: read-only where that is
        (``bytes``), and with gaps between the rows where `step` has padding.

    Raises:
        ImageError: zero or absurd size, `step` or `data` too short, unknown encoding, a JPEG or PNG that does
            not decode. One sentence that names the numbers.
    """
    if hasattr(message, "encoding"):
        return _decode_raw(message)
    if hasattr(message, "format"):
        return _decode_compressed(message)
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


def _decode_raw(message: Any) -> np.ndarray:
    layout = LAYOUTS.get(message.encoding)
    if layout is None:
        raise ImageError(f"Unknown image encoding '{message.encoding}'; known are {', '.join(ENCODINGS)}.")
    height, width = _checked_size(message.height, message.width)
    rows = _rows(message, layout.rows(height), layout.row_bytes(width))
    return layout.unpack(rows, width, bool(message.is_bigendian))


def _decode_compressed(message: Any) -> np.ndarray:
    data = _buffer(message.data).tobytes()
    size = compressed_size(data)
    if size is None:
        raise ImageError(
            f"A compressed image of {len(data)} bytes (format '{message.format}') is neither "
            "JPEG nor PNG, or its beginning is damaged."
        )
    _checked_size(*size)
    # The camera's geometry belongs to the pixels as stored; a rotation tag would part them from camera_info.
    as_stored = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    bgr = None if ends_early(data) else cv2.imdecode(np.frombuffer(data, np.uint8), as_stored)
    if bgr is None:
        raise ImageError(f"A compressed image of {len(data)} bytes (format '{message.format}') is corrupt or cut off.")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr)


def _checked_size(height: Any, width: Any) -> tuple[int, int]:
    height, width = int(height), int(width)
    if height <= 0 or width <= 0:
        raise ImageError(f"An image of {width}x{height} pixels has no content.")
    if height * width > MAX_PIXELS:
        raise ImageError(f"An image of {width}x{height} pixels is beyond the limit of {MAX_PIXELS >> 20} Mpx.")
    return height, width


def _rows(message: Any, rows: int, row_bytes: int) -> np.ndarray:
    """The message's data as uint8 [rows, step], a view."""
    step = int(message.step)
    if step < row_bytes:
        raise ImageError(
            f"Image step {step} is less than the {row_bytes} bytes that a row of "
            f"{message.width} {message.encoding} pixels needs."
        )
    data = _buffer(message.data)
    if len(data) < step * rows:
        raise ImageError(
            f"Image data has {len(data)} bytes, but {message.encoding} with {rows} rows of step "
            f"{step} needs {step * rows}."
        )
    return data[: step * rows].reshape(rows, step)


def _buffer(data: Any) -> np.ndarray:
    """Any buffer of bytes as uint8 [N], without a copy where it is contiguous."""
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    try:
        return np.frombuffer(data, np.uint8) if len(data) else np.empty(0, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise ImageError(f"Image data of type {type(data).__name__} is not a buffer of bytes.") from error


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

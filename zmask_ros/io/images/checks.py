"""What every image message must fulfill, and the error of one that does not."""

from __future__ import annotations

from typing import Any

import numpy as np

from zmask_ros.errors import ZmaskError

MAX_PIXELS = 64 * 1024 * 1024


class ImageError(ZmaskError):
    """An image message whose fields contradict each other, or that holds no readable image."""


def checked_size(height: Any, width: Any) -> tuple[int, int]:
    """Both as integers.

    Raises:
        ImageError: an image of this size has no content, or an absurd amount of it.
    """
    height, width = int(height), int(width)
    if height <= 0 or width <= 0:
        raise ImageError(f"An image of {width}x{height} pixels has no content.")
    if height * width > MAX_PIXELS:
        raise ImageError(f"An image of {width}x{height} pixels is beyond the limit of {MAX_PIXELS >> 20} Mpx.")
    return height, width


def bytes_of(data: Any) -> np.ndarray:
    """Any buffer of bytes as uint8 [N], without a copy where it is contiguous.

    Raises:
        ImageError: it is no such buffer.
    """
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    try:
        return np.frombuffer(data, np.uint8) if len(data) else np.empty(0, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise ImageError(f"Image data of type {type(data).__name__} is not a buffer of bytes.") from error


def rows_of(message: Any, rows: int, row_bytes: int) -> np.ndarray:
    """A message's data as uint8 [rows, step], a view.

    Raises:
        ImageError: `step` is less than ``row_bytes``, or there are fewer rows.
    """
    step = int(message.step)
    if step < row_bytes:
        raise ImageError(
            f"Image step {step} is less than the {row_bytes} bytes that a row of "
            f"{message.width} {message.encoding} pixels needs."
        )
    data = bytes_of(message.data)
    if len(data) < step * rows:
        raise ImageError(
            f"Image data has {len(data)} bytes, but {message.encoding} with {rows} rows of step "
            f"{step} needs {step * rows}."
        )
    return data[: step * rows].reshape(rows, step)

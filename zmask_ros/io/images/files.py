"""Pictures from files and folders."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from zmask_ros.io.images.checks import ImageError

IMAGE_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


def is_picture(path: Path) -> bool:
    """Whether this is a picture file, by its name's ending."""
    return path.suffix.lower() in IMAGE_ENDINGS and path.is_file()


def pictures_in(folder: Path) -> list[Path]:
    """The picture files in ``folder``, by name.

    Raises:
        ImageError: there are none.
    """
    files = sorted(path for path in folder.glob("*") if is_picture(path))
    if not files:
        raise ImageError(f"There are no images in {folder}: name a folder with PNG or JPEG files.")
    return files


def read_picture(path: Path) -> np.ndarray:
    """A picture file of any kind that OpenCV knows, uint8 [H, W, 3] RGB.

    Raises:
        ImageError: no such file, or not a picture.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ImageError(f"The picture {path} cannot be read: {error.strerror}.") from error
    pixels = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if pixels is None:
        raise ImageError(f"{path} is not a readable image.")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))

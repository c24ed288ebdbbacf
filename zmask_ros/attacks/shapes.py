"""Patches that are no rectangles."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from zmask_ros.attacks.errors import AttackError


def read_shape(path: Path | str, size: tuple[int, int]) -> Tensor:
    """How much each patch pixel hides, float [h, w] in 0..1, from a picture, resized to the patch's (height, width).

    Of a picture with an alpha channel that channel counts, of any other its brightness.

    Raises:
        AttackError: no such file, not a picture, or all of it hides nothing.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise AttackError(f"The shape {path} cannot be read: {error.strerror}.") from error
    pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if pixels is None or pixels.dtype != np.uint8:
        raise AttackError(f"The shape {path} is no picture of 8 bits a channel: draw one in black and white.")
    if pixels.ndim == 3:
        pixels = pixels[..., 3] if pixels.shape[2] == 4 else cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    resized = np.asarray(cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_AREA))
    if not resized.any():
        raise AttackError(f"The shape {path} is black or transparent everywhere: white is where the patch is.")
    return torch.from_numpy(resized).float() / 255.0

"""What can be printed: the outline of a patch, and the colors of a printer, with the distance of a patch from them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from zmask_ros.errors import AttackError
from zmask_ros.resources import find_resource

BUILT_IN = "config/printable_colours.csv"
SOFTENING = 1e-8
"""Added to squared distances: a color that is met exactly has distance 1e-4, and a slope of 0 instead of none."""


def read_palette(path: Path | str | None = None) -> Tensor:
    """Printable colors, float [N, 3] in 0..1.

    A palette is a CSV file with the columns red, green, blue and no other numbers, or a JSON list of [red, green,
    blue]; values are 0..255. Lines of a CSV file that start with # are notes.

    Args:
        path: None reads the palette that comes with the package.

    Raises:
        AttackError: no such file, or one that holds something else.
    """
    place = Path(path) if path is not None else find_resource(BUILT_IN)
    try:
        text = place.read_text()
        rows = json.loads(text) if place.suffix.lower() == ".json" else _csv_rows(text)
        colors = torch.tensor([[float(value) for value in row] for row in rows])
    except OSError as error:
        raise AttackError(f"The palette {place} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, ValueError, TypeError) as error:
        raise AttackError(f"The palette {place} must be a list of red, green, blue: {error}.") from error
    if colors.dim() != 2 or colors.shape[1] != 3 or not bool(((colors >= 0) & (colors <= 255)).all()):
        raise AttackError(f"The palette {place} must hold three values in 0..255 for each colour.")
    return colors / 255.0


def read_shape(path: Path | str, size: tuple[int, int]) -> Tensor:
    """How much each patch pixel hides, float [h, w] in 0..1, from a picture.

    Of a picture with an alpha channel that channel counts, of any other its brightness.

    Args:
        path: of the picture, with 8 bits a channel.
        size: (height, width) in patch pixels, that the picture is resized to.

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


def non_printability(patch: Tensor, palette: Tensor) -> Tensor:
    """Non-printability score: mean over the pixels p of the product over the colors c of ``|p - c|``.

    Args:
        patch: [..., 3, h, w] in 0..1.
        palette: [N, 3] in 0..1.
    """
    return _log_products(patch, palette).exp().mean()


def non_printability_gradient(patch: Tensor, palette: Tensor) -> Tensor:
    """Gradient of `non_printability`, divided by its length.

    A product over dozens of colors is smaller than float32 can hold, but only its direction counts: the products are
    scaled by the largest one.
    """
    leaf = patch.detach().requires_grad_()
    logs = _log_products(leaf, palette)
    (gradient,) = torch.autograd.grad((logs - logs.detach().max()).exp().sum(), leaf)
    # In float64, because what is left of the smaller products may still be beyond float32.
    length = gradient.double().norm()
    return (gradient.double() / length.clamp(min=1e-300)).to(patch)


def _csv_rows(text: str) -> list[list[Any]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = list(csv.reader(lines))
    has_title = bool(rows) and [cell.strip().lower() for cell in rows[0]] == ["red", "green", "blue"]
    return rows[1:] if has_title else rows


def _log_products(patch: Tensor, palette: Tensor) -> Tensor:
    """[..., h, w]: the logarithm of each pixel's product of distances, summed in float64."""
    pixels = patch.double().movedim(-3, -1)
    return sum(
        (0.5 * ((pixels - color).square().sum(-1) + SOFTENING).log() for color in palette.double()),
        start=pixels.new_zeros(pixels.shape[:-1]),
    )

"""Regions completed to the shape of what is printed: a rectangle.

Plain parts of a patch leave little behind in the network, and whoever fights the mask keeps some of it cool.
Billboards, posters and the backs of trucks are rectangles, though, whose place the warm parts tell. A region that is
mostly bay is something else and stays as it is, so that nobody blinds the car with a thin frame around the view.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense.masking.morphology import each, parts_of

ANGLES = 16
"""Of rectangles that are tried, over a quarter turn."""
TOLERANCE = 1e-3
"""Of a cell."""


def completed(region: Tensor, solid: float) -> Tensor:
    """``region``, bool [B, 1, h, w], with the smallest rectangle around each part that fills the share ``solid`` of it.

    Parts are 8-connected; their rectangles are turned as suits them.
    """
    return each(lambda own: own.view(bool) | _rectangles(own, solid), region)


def _rectangles(region: np.ndarray, solid: float) -> np.ndarray:
    """All rectangles of one image, uint8 [h, w], that are filled enough: bool [h, w]."""
    count, parts = parts_of(region)
    if count == 1:
        return np.zeros(region.shape, bool)
    sizes = np.bincount(parts.ravel())[1:]
    inside = _smallest_rectangles(parts, sizes)
    return inside[sizes >= np.float32(solid) * inside.sum((1, 2), dtype=np.float32)].any(0)


def _smallest_rectangles(parts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The smallest rectangle around each of the parts in ``parts`` [h, w], of so many cells: bool [parts, h, w]."""
    angles = torch.arange(4 * ANGLES) * (math.pi / 2 / ANGLES)
    sine, cosine = angles.sin().numpy(), angles.cos().numpy()
    # How far each part reaches in each direction.
    cells = np.flatnonzero(parts)
    cells = cells[np.argsort(parts.ravel()[cells], kind="stable")]
    rows, columns = (index.astype(np.float32) for index in np.divmod(cells, parts.shape[1]))
    along = cosine[:, None] * columns + sine[:, None] * rows
    reach = np.maximum.reduceat(along, np.cumsum(sizes) - sizes, axis=1)
    length = reach[: 2 * ANGLES] + reach[2 * ANGLES :] + 1
    turn = (length[:ANGLES] * length[ANGLES:]).argmin(0)
    rows, columns = (np.arange(n, dtype=np.float32) for n in parts.shape)
    inside = np.ones((len(sizes), *parts.shape), bool)
    for side in turn + ANGLES * np.arange(4)[:, None]:
        along = cosine[side, None, None] * columns + sine[side, None, None] * rows[:, None]
        inside &= along <= reach[side, np.arange(len(sizes))][:, None, None] + np.float32(TOLERANCE)
    return inside

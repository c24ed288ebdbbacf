"""Rectangle completion: regions completed to the shape of what is printed.

Plain parts of a patch leave little behind in the network, and attackers who fight the mask keep some of a patch cool.
Billboards, posters and the backs of trucks are rectangles, though, and the warm parts tell where. A component that
fills little of its rectangle is something else and stays as it is, so that a thin frame around the view masks nothing.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense.masking.morphology import label_components, per_image
from zmask_ros.defense.masking.soft_region import OPEN, open_cells

ANGLES = 16
"""Number of angles of a rectangle that are tried over a quarter turn."""
TOLERANCE = 1e-3
"""How far beyond a rectangle's side the center of a cell may lie, in cells, for rounding."""


def complete_rectangles(region: Tensor, solid: float) -> Tensor:
    """A soft region with every component completed that fills enough of its rectangle; differentiable.

    Args:
        region: soft region, [B, 1, h, w].
        solid: least share of the rectangle, in 0..1; 1 completes nothing.

    Returns:
        Soft region, [B, 1, h, w].
    """
    return region if solid >= 1 else open_cells(region, fill_rectangles(region > OPEN, solid))


def fill_rectangles(region: Tensor, solid: float) -> Tensor:
    """Every 8-connected component with the smallest rectangle around it, at any angle, if it fills enough of that.

    Args:
        region: bool [B, 1, h, w].
        solid: least share of the rectangle, in 0..1.

    Returns:
        Bool [B, 1, h, w].
    """
    return per_image(lambda image: image.view(bool) | _solid_rectangles(image, solid), region)


def _solid_rectangles(region: np.ndarray, solid: float) -> np.ndarray:
    """The rectangles of all components of one image, uint8 [h, w], that are filled enough: bool [h, w]."""
    count, labels = label_components(region)
    if count == 1:
        return np.zeros(region.shape, bool)
    sizes = np.bincount(labels.ravel())[1:]
    inside = _smallest_rectangles(labels, sizes)
    return inside[sizes >= np.float32(solid) * inside.sum((1, 2), dtype=np.float32)].any(0)


def _smallest_rectangles(labels: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The smallest rectangle around each component of ``labels`` [h, w], of so many cells: bool [components, h, w]."""
    angles = torch.arange(4 * ANGLES) * (math.pi / 2 / ANGLES)
    sine, cosine = angles.sin().numpy(), angles.cos().numpy()
    # How far each component extends in each direction: the maximum over its cells, sorted by component.
    cells = np.flatnonzero(labels)
    cells = cells[np.argsort(labels.ravel()[cells], kind="stable")]
    rows, columns = (index.astype(np.float32) for index in np.divmod(cells, labels.shape[1]))
    along = cosine[:, None] * columns + sine[:, None] * rows
    extent = np.maximum.reduceat(along, np.cumsum(sizes) - sizes, axis=1)
    length = extent[: 2 * ANGLES] + extent[2 * ANGLES :] + 1
    turn = (length[:ANGLES] * length[ANGLES:]).argmin(0)
    rows, columns = (np.arange(n, dtype=np.float32) for n in labels.shape)
    inside = np.ones((len(sizes), *labels.shape), bool)
    for side in turn + ANGLES * np.arange(4)[:, None]:
        along = cosine[side, None, None] * columns + sine[side, None, None] * rows[:, None]
        inside &= along <= extent[side, np.arange(len(sizes))][:, None, None] + np.float32(TOLERANCE)
    return inside

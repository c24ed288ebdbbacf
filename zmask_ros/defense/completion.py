"""Regions completed to the shape of what is printed: a rectangle.

Plain parts of a patch leave little behind in the network, and whoever fights the mask keeps some of it cool.
Billboards, posters and the backs of trucks are rectangles, though, whose place the warm parts tell. A region that is
mostly bay is something else and stays as it is, so that nobody blinds the car with a thin frame around the view.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zmask_ros.defense.cells import numbered

ANGLES = 16
"""Of rectangles that are tried, over a quarter turn."""
TOLERANCE = 1e-3
"""Of a cell."""


def completed(region: Tensor, solid: float) -> Tensor:
    """``region``, bool [B, 1, h, w], with the smallest rectangle around each part that fills the share ``solid`` of it.

    Parts are 8-connected; their rectangles are turned as suits them.
    """
    return torch.stack([image | _rectangles(image, solid) for image in region[:, 0]])[:, None]


def _rectangles(region: Tensor, solid: float) -> Tensor:
    """All rectangles of one image that are filled enough, bool [h, w]."""
    parts = numbered(region)
    sizes = parts[region].bincount()[1:]
    inside = _smallest_rectangles(parts, len(sizes))
    return (inside & (sizes >= solid * inside.sum((1, 2)))[:, None, None]).any(0)


def _smallest_rectangles(parts: Tensor, count: int) -> Tensor:
    """The smallest rectangle around each of the parts 1 to ``count`` in ``parts`` [h, w]: bool [count, h, w]."""
    angles = torch.arange(4 * ANGLES, device=parts.device) * (math.pi / 2 / ANGLES)
    sine, cosine = angles.sin(), angles.cos()
    # How far each part reaches in each direction.
    rows, columns = parts.nonzero(as_tuple=True)
    along = cosine[:, None] * columns + sine[:, None] * rows
    none = torch.full((4 * ANGLES, count), -math.inf, device=parts.device)
    reach = none.scatter_reduce(1, (parts[rows, columns] - 1).expand(4 * ANGLES, -1), along, "amax")
    length = reach[: 2 * ANGLES] + reach[2 * ANGLES :] + 1
    turn = (length[:ANGLES] * length[ANGLES:]).argmin(0)
    sides = turn[:, None] + ANGLES * torch.arange(4, device=parts.device)
    rows, columns = (torch.arange(n, device=parts.device) for n in parts.shape)
    inside = torch.ones(count, *parts.shape, dtype=torch.bool, device=parts.device)
    for side in sides.T:
        along = cosine[side, None, None] * columns + sine[side, None, None] * rows[:, None]
        inside &= along <= reach.T.gather(1, side[:, None])[..., None] + TOLERANCE
    return inside

"""Regions completed to the shape of what is printed: a rectangle.

Plain parts of a patch leave little behind in the network, and whoever fights the mask keeps some of it cool.
Billboards, posters and the backs of trucks are rectangles, though, whose place the warm parts tell. A region that is
mostly bay is something else and stays as it is, so that nobody blinds the car with a thin frame around the view.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zmask_ros.defense.pooling import widest

ANGLES = 16
"""Of rectangles that are tried, over a quarter turn."""
STEPS_AT_ONCE = 4
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
    numbers, part_of = torch.unique(parts, return_inverse=True)
    inside = _smallest_rectangles(part_of, len(numbers))
    sizes = torch.bincount(part_of.flatten(), minlength=len(numbers))
    enough = (sizes >= solid * inside.flatten(1).sum(1)) & (numbers > 0)
    return (inside & enough[:, None, None]).any(0)


def numbered(region: Tensor) -> Tensor:
    """A number for each part of bool [h, w], the same for all of its cells; 0 outside."""
    own = torch.arange(1, region.numel() + 1, device=region.device).view(region.shape) * region
    numbers = own.float()[None, None]
    while True:
        before = numbers
        for _ in range(STEPS_AT_ONCE):
            numbers = widest(numbers, (3, 3)) * region
        if torch.equal(before, numbers):
            return numbers[0, 0].long()


def _smallest_rectangles(part_of: Tensor, count: int) -> Tensor:
    """The smallest rectangle around each of ``count`` parts, numbered in ``part_of`` [h, w]: bool [count, h, w]."""
    height, width = part_of.shape
    rows, columns = torch.meshgrid(*(torch.arange(n, device=part_of.device) for n in (height, width)), indexing="ij")
    angles = torch.arange(4 * ANGLES, device=part_of.device) * (math.pi / 2 / ANGLES)
    # How far each cell lies in each direction, and how far each part reaches.
    along = angles.cos()[:, None] * columns.flatten() + angles.sin()[:, None] * rows.flatten()
    none = torch.full((4 * ANGLES, count), -math.inf, device=part_of.device)
    reach = none.scatter_reduce(1, part_of.flatten().expand(4 * ANGLES, -1), along, "amax")
    length = reach[: 2 * ANGLES] + reach[2 * ANGLES :] + 1
    turn = (length[:ANGLES] * length[ANGLES:]).argmin(0)
    sides = turn + ANGLES * torch.arange(4, device=part_of.device)[:, None]
    within = [along[side] <= reach.gather(0, side[None]).T + TOLERANCE for side in sides]
    return torch.stack(within).all(0).view(count, height, width)

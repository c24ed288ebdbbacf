"""Soft regions: maps [B, 1, h, w] in 0..1 whose cells above `OPEN` are to be masked, with gradients for attackers."""

from __future__ import annotations

import torch
from torch import Tensor

from zmask_ros.defense.evidence.grid import Size, resample

OPEN = 0.5
"""The value in 0..1 above which a cell of a soft region is masked."""


def open_cells(region: Tensor, cells: Tensor) -> Tensor:
    """A soft region, opened in further cells.

    The value of an added cell is 1; its gradient is that of the region's mean, because the region is why it is added.

    Args:
        region: soft region, [B, 1, h, w].
        cells: bool [B, 1, h, w].

    Returns:
        Soft region, [B, 1, h, w].
    """
    inside = region > OPEN
    mean = region.sum((-2, -1), keepdim=True) / inside.sum((-2, -1), keepdim=True).clamp_min(1)
    return torch.where(cells & ~inside, 1 + mean - mean.detach(), region)


def hard_mask(region: Tensor, size: Size) -> Tensor:
    """The soft region [B, 1, h, w] as 0 or 1, [B, 1, *size]; its gradient is the soft region's (straight-through)."""
    soft = resample(region, size)
    # Written as numbers at once: making bits of them first takes several times as long.
    hard = torch.gt(soft.detach(), OPEN, out=torch.empty_like(soft))
    return hard + (soft - soft.detach()) if soft.requires_grad else hard

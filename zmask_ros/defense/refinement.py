"""Where exactly a region ends: finer than the cells of the working grid.

A cell of the grid is several pixels wide, pooling smears heat over its neighbours, and both decide how much of the
street is lost beside a patch, or how much of the patch goes on attacking. A shallow layer is finer than the grid, and
the frame itself says what tells patch from street in it: cells well inside the region and cells well outside are known,
and a linear discriminant between them decides on those at the edge. As in tracking, but in space instead of time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zmask_ros.defense.discriminant import discriminant, weighed
from zmask_ros.defense.filling import bounding_box
from zmask_ros.defense.growth import OPEN, close_gaps, open_bridges
from zmask_ros.defense.pooling import Size, area_resample, box_pool, nearest_odd, widest

CORE, INNER, BESIDE, STREET, BAND = 2, 1, 1, 4, 2
"""Cells of the grid: a region is sure in its core, CORE cells from its edge, and what it looks like is learned from all
that is INNER cells from it, since the rim of a patch may look unlike its middle; from BESIDE to STREET around it is the
street; the edge is looked for in the BAND around it, and inside down to its core."""
FEWEST = 8
"""Cells of the layer that a side of the discriminant needs."""
WINDOW = 3
"""Cells of the layer, odd, over which texture is taken together."""
STRONGEST = 25.0
"""Squared z-score above which more says nothing."""
LEAST_DEVIATION = 0.05
"""Of the mean over the channels: the street may be all the same to one of them."""
TINY = 1e-6
ALIKE = 0.2
"""From the street at 0 to the region's core at 1: below it is street, though a rectangle has it in."""
SLIVER: Size = (3, 3)
"""On the grid: what is narrower belongs to the edge, and is left to the refinement."""
GAPS, HAIRS = 2.25, 0.75
"""Cells of the grid: narrower gaps are closed, narrower hairs cut."""


def without_street(warm: Tensor, whole: Tensor, activation: Tensor) -> Tensor:
    """What of a completed region is no street: soft, [B, 1, h, w], open above `OPEN`.

    A rectangle around two patches that are close has the street between them in; one around the warm rim of a patch has
    its cool middle in. The middle is printed like the rim, more or less, and the street is like the street.

    Args:
        warm: the soft region before it was completed, [B, 1, h, w].
        whole: completed.
        activation: [B, C, H, W], of a layer that is finer than the region.
    """
    images = zip(warm.split(1), whole.split(1), activation.split(1), strict=True)
    return torch.cat([_without_street(*image) for image in images])


def _without_street(warm: Tensor, whole: Tensor, activation: Tensor) -> Tensor:
    size = (activation.shape[-2], activation.shape[-1])
    inside, added = warm > OPEN, (whole > OPEN) & (warm <= OPEN)
    if not bool(open_bridges(close_gaps(added.to(warm), SLIVER) > OPEN, SLIVER).any()):
        return warm
    around = Surroundings.of(inside | added, size, sure=inside)
    if min(int(around.core.sum()), int(around.street.sum())) < FEWEST:
        return whole
    part = (..., *bounding_box(around.street | around.band))
    street = around.street[part]
    attention = _attention(_texture(activation[part], street), around.core[part], street)
    alike = (attention > ALIKE) & _at_size(added, size)[part]
    share, likeness = torch.zeros_like(around.street, dtype=warm.dtype), torch.zeros(1, 1, *size).to(warm)
    grid = (warm.shape[-2], warm.shape[-1])
    gaps = _on_layer(GAPS, grid, size)
    share[part] = open_bridges(close_gaps(alike.to(warm), gaps) > OPEN, gaps).to(warm)
    likeness[part] = attention
    likeness = area_resample(likeness, grid)
    kept = added & (area_resample(share, grid) >= OPEN)
    # Whoever wants to keep a part from being masked makes it more like the street.
    return torch.where(added, kept * whole + likeness - likeness.detach(), whole)


def refine(region: Tensor, activation: Tensor) -> Tensor:
    """The soft region [B, 1, h, w] at the resolution of the activation [B, C, H, W]: open above `OPEN`.

    Where a region is too small to learn from, or fills the view, it stays as it is. Its gradient is that of the
    region in the core, and of the discriminant at the edge; the discriminant itself is taken for given.
    """
    return torch.cat([_refined(region[i : i + 1], activation[i : i + 1]) for i in range(len(region))])


def _refined(region: Tensor, activation: Tensor) -> Tensor:
    size = (activation.shape[-2], activation.shape[-1])
    whole = F.interpolate(region, size, mode="nearest")
    around = Surroundings.of(region > OPEN, size)
    if min(int(around.core.sum()), int(around.street.sum())) < FEWEST:
        return whole
    # Beyond the street around it nothing has a say.
    part = (..., *bounding_box(around.street | around.band))
    street, soft = around.street[part], whole[part]
    edge = _attention(_texture(activation[part], street), around.inner[part], street)
    soft = torch.where(around.core[part], soft, edge * around.band[part])
    gaps, hairs = (_on_layer(cells, (region.shape[-2], region.shape[-1]), size) for cells in (GAPS, HAIRS))
    closed = close_gaps(open_bridges(soft > OPEN, hairs).to(soft), gaps)
    refined = torch.zeros_like(whole)
    refined[part] = closed + soft - soft.detach()
    return refined


def _texture(activation: Tensor, street: Tensor) -> Tensor:
    """[1, 2 C, H, W]: z-scores against the cells of the street, and their root mean squares over a window."""
    cells = _cells(activation.detach(), street)
    mean = cells.mean(0)
    deviation = (cells - mean).square_().mean(0).sqrt_()
    deviation = deviation.clamp_min(LEAST_DEVIATION * deviation.mean()).clamp_min(TINY)
    z = (activation - mean[:, None, None]) / deviation[:, None, None]
    pooled = box_pool(torch.cat([z, z.square().clamp_max(STRONGEST)], 1), (WINDOW, WINDOW))
    # The root has no slope at 0.
    pooled[:, len(mean) :].add_(TINY).sqrt_()
    return pooled


@dataclass(frozen=True)
class Surroundings:
    """What is known of the cells of a layer, bool [1, 1, H, W] each.

    Attributes:
        core: surely inside of the region.
        inner: inside, less surely.
        street: surely outside.
        band: may be inside.
    """

    core: Tensor
    inner: Tensor
    street: Tensor
    band: Tensor

    @staticmethod
    def of(inside: Tensor, size: Size, sure: Tensor | None = None) -> Surroundings:
        """Those of a region on the grid, bool [1, 1, h, w], for a layer of this size.

        Args:
            inside: the region.
            size: of the layer.
            sure: the part of the region that its inside is taken from; None: all of it.
        """
        core, inner = (_deep(inside if sure is None else sure, distance) for distance in (CORE, INNER))
        street = _wider(inside, STREET) & ~_wider(inside, BESIDE)
        parts = _at_size(torch.cat([core, inner, street, _wider(inside, BAND)], 1), size)
        return Surroundings(*parts.split(1, 1))


def _attention(texture: Tensor, core: Tensor, street: Tensor) -> Tensor:
    """[1, 1, H, W] of texture [1, F, H, W]: about 1 in the core, about 0 on the street."""
    with torch.no_grad():
        weights, offset = discriminant(_cells(texture, core), _cells(texture, street))
    return box_pool(weighed(texture, weights, offset), (WINDOW, WINDOW))


def _cells(features: Tensor, where: Tensor) -> Tensor:
    """[N, F] of features [1, F, H, W] at the cells of bool [1, 1, H, W]: rows already, in channels-last memory."""
    return features[0].permute(1, 2, 0)[where[0, 0]]


def _deep(inside: Tensor, cells: int) -> Tensor:
    """What of the region is so many cells or more from its edge; fewer, where it is too narrow for that."""
    for distance in range(cells, 0, -1):
        narrower = ~_wider(~inside, distance)
        if narrower.any():
            return narrower
    return inside


def _wider(cells: Tensor, distance: int) -> Tensor:
    """Bool [1, 1, h, w] with all cells within ``distance`` of one of ``cells``."""
    return widest(cells.float(), (2 * distance + 1, 2 * distance + 1)) > OPEN


def _on_layer(cells: float, grid: Size, size: Size) -> Size:
    """A window of so many cells of the grid, on a layer of this size: odd, so that it has a centre."""
    height, width = (nearest_odd(cells * own / whole) for own, whole in zip(size, grid, strict=True))
    return height, width


def _at_size(cells: Tensor, size: Size) -> Tensor:
    return F.interpolate(cells.to(torch.uint8), size, mode="nearest").bool()

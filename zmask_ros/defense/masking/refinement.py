"""Where exactly a region ends: finer than the cells of the working grid.

A cell of the grid is several pixels wide, pooling smears heat over its neighbours, and both decide how much of the
street is lost beside a patch, or how much of the patch goes on attacking. A shallow layer is finer than the grid, and
the frame itself says what tells patch from street in it: cells well inside the region and cells well outside are known,
and a linear discriminant between them decides on those at the edge. As in tracking, but in space instead of time.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zmask_ros.defense.evidence.grid import Size, area_resample, bounding_box, box_pool, layer_kernel
from zmask_ros.defense.masking.discriminant import discriminant, weighed
from zmask_ros.defense.masking.growth import OPEN
from zmask_ros.defense.masking.morphology import closed, each, opened

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
GAPS, HAIRS = (2.25, 2.25), (0.75, 0.75)
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
    grid, size = _size(warm), _size(activation)
    inside, added = warm > OPEN, (whole > OPEN) & (warm <= OPEN)
    if not bool(opened(closed(added, SLIVER), SLIVER).any()):
        return warm
    around = Surroundings.of(whole > OPEN, size, sure=inside)
    if not around.enough:
        return whole
    part = around.part
    attention = _attention(activation[part], around.core[part], around.street[part])
    alike = (attention > ALIKE) & _at_size(added, size)[part]
    share, likeness = torch.zeros_like(around.street, dtype=warm.dtype), torch.zeros(1, 1, *size).to(warm)
    gaps = layer_kernel(GAPS, grid, size)
    share[part] = opened(closed(alike, gaps), gaps).to(warm)
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
    return torch.cat([_refined(*image) for image in zip(region.split(1), activation.split(1), strict=True)])


def _refined(region: Tensor, activation: Tensor) -> Tensor:
    grid, size = _size(region), _size(activation)
    whole = F.interpolate(region, size, mode="nearest")
    around = Surroundings.of(region > OPEN, size)
    if not around.enough:
        return whole
    part = around.part
    edge = _attention(activation[part], around.inner[part], around.street[part])
    soft = torch.where(around.core[part], whole[part], edge * around.band[part])
    hairless = opened(soft > OPEN, layer_kernel(HAIRS, grid, size))
    hard = closed(hairless, layer_kernel(GAPS, grid, size)).to(soft)
    refined = torch.zeros_like(whole)
    refined[part] = hard + soft - soft.detach()
    return refined


def _texture(activation: Tensor, street: Tensor) -> Tensor:
    """[1, 2 C, H, W]: z-scores against the cells of the street, and their root mean squares over a window."""
    cells = _cells(activation.detach(), street)
    mean = cells.mean(0)
    deviation = (cells - mean).square_().mean(0).sqrt_()
    inverse = deviation.clamp_min(LEAST_DEVIATION * deviation.mean()).clamp_min_(TINY).reciprocal_()[:, None, None]
    z = torch.addcmul(-mean[:, None, None] * inverse, activation, inverse)
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
        parts = each(_surroundings, inside, inside if sure is None else sure)
        return Surroundings(*_at_size(parts, size).split(1, 1))

    @property
    def enough(self) -> bool:
        """Whether a discriminant can be learned."""
        return min(int(self.core.sum()), int(self.street.sum())) >= FEWEST

    @property
    def part(self) -> tuple[EllipsisType, slice, slice]:
        """Where the rows and columns lie that have a say: nothing beyond the street around a region has."""
        return (..., *bounding_box(self.street | self.band))


def _attention(activation: Tensor, inside: Tensor, street: Tensor) -> Tensor:
    """[1, 1, H, W] of an activation [1, C, H, W]: about 1 inside, about 0 on the street."""
    texture = _texture(activation, street)
    with torch.no_grad():
        weights, offset = discriminant(_cells(texture, inside), _cells(texture, street))
    return box_pool(weighed(texture, weights, offset), (WINDOW, WINDOW))


def _cells(features: Tensor, where: Tensor) -> Tensor:
    """[N, F] of features [1, F, H, W] at the cells of bool [1, 1, H, W]: rows already, in channels-last memory."""
    return features[0].permute(1, 2, 0)[where[0, 0]]


def _surroundings(inside: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Core, inner, street and band of a region, uint8 [h, w] each as they come: [4, h, w]."""
    street = _wider(inside, STREET) & (1 - _wider(inside, BESIDE))
    return np.stack([_deep(sure, CORE), _deep(sure, INNER), street, _wider(inside, BAND)])


def _deep(inside: np.ndarray, cells: int) -> np.ndarray:
    """What of the region is so many cells or more from its edge; fewer, where it is too narrow for that."""
    for distance in range(cells, 0, -1):
        narrower = cv2.erode(inside, _window(distance))
        if narrower.any():
            return narrower
    return inside


def _wider(cells: np.ndarray, distance: int) -> np.ndarray:
    """All cells within ``distance`` of one of ``cells``."""
    return cv2.dilate(cells, _window(distance))


def _window(distance: int) -> np.ndarray:
    return np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)


def _size(maps: Tensor) -> Size:
    return maps.shape[-2], maps.shape[-1]


def _at_size(cells: Tensor, size: Size) -> Tensor:
    return F.interpolate(cells.to(torch.uint8), size, mode="nearest").bool()

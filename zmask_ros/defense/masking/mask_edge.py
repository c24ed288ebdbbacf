"""The edge of a mask: where exactly a patch ends, finer than the cells of the working grid.

A cell of the grid is several pixels wide, pooling spreads heat to its neighbors, and both decide how much of the street
is lost around a patch, or how much of the patch goes on attacking. A shallow layer is finer than the grid, and the
frame itself says what tells patch from street in it: cells well inside the region and cells well outside are known, and
a linear discriminant between them decides on the cells at the edge.
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
from zmask_ros.defense.masking.discriminant import discriminant, project
from zmask_ros.defense.masking.morphology import binary_closing, binary_opening, per_image
from zmask_ros.defense.masking.soft_region import OPEN

CORE_DEPTH = 2
"""Cells of the grid from its edge inwards, from where on a region is surely masked."""
LEARNED_DEPTH = 1
"""Cells of the grid from its edge inwards, from where on a region's cells are learned from: the rim of a patch may look
unlike its middle."""
STREET_GAP, STREET_REACH = 1, 4
"""Cells of the grid from the region outwards, between which lies the street that is learned from."""
EDGE_BAND = 2
"""Cells of the grid around the region in which its edge is looked for; inside it is looked for down to the core."""
FEWEST_CELLS = 8
"""Least number of the layer's cells that each side of the discriminant needs."""
TEXTURE_WINDOW = (3, 3)
"""Cells of the layer, odd height and width, over which texture is averaged."""
LARGEST_ENERGY = 25.0
"""Squared z-score above which more says nothing."""
LEAST_DEVIATION = 0.05
"""Least standard deviation of a channel on the street, as a share of the channels' mean one: a channel may not vary."""
TINY = 1e-6
"""What deviations are at least, and what is added before a root, which has no finite slope at 0."""
ALIKE = 0.2
"""Attention, from 0 on the street to 1 in the region's core, below which an added cell is street."""
SLIVER: Size = (3, 3)
"""Cells of the grid: parts of what a rectangle adds that are narrower are left to the refinement of the edge."""
GAPS, HAIRS = (2.25, 2.25), (0.75, 0.75)
"""Cells of the grid: narrower gaps in a mask are closed, narrower protrusions are cut."""


def exclude_street(warm: Tensor, completed: Tensor, activation: Tensor) -> Tensor:
    """A completed region without the street that its rectangles added.

    A rectangle around two patches that are close contains the street between them; one around the warm rim of a patch
    contains its cool middle. The middle is printed like the rim, more or less, and the street is like the street.

    Args:
        warm: the soft region before rectangles were completed, [B, 1, h, w].
        completed: the soft region after that, [B, 1, h, w].
        activation: of a layer that is finer than the grid, [B, C, H, W].

    Returns:
        Soft region, [B, 1, h, w].
    """
    images = zip(warm.split(1), completed.split(1), activation.split(1), strict=True)
    return torch.cat([_exclude_street(*image) for image in images])


def _exclude_street(warm: Tensor, completed: Tensor, activation: Tensor) -> Tensor:
    grid, size = _size(warm), _size(activation)
    inside, added = warm > OPEN, (completed > OPEN) & (warm <= OPEN)
    if not bool(binary_opening(binary_closing(added, SLIVER), SLIVER).any()):
        return warm
    surroundings = Surroundings.of(completed > OPEN, size, sure=inside)
    if not surroundings.enough:
        return completed
    part = surroundings.part
    attention = _attention(activation[part], surroundings.core[part], surroundings.street[part])
    alike = (attention > ALIKE) & _at_size(added, size)[part]
    share, likeness = torch.zeros_like(surroundings.street, dtype=warm.dtype), torch.zeros(1, 1, *size).to(warm)
    gaps = layer_kernel(GAPS, grid, size)
    share[part] = binary_opening(binary_closing(alike, gaps), gaps).to(warm)
    likeness[part] = attention
    likeness = area_resample(likeness, grid)
    kept = added & (area_resample(share, grid) >= OPEN)
    # An attacker keeps an added cell from being masked by making it more like the street: the gradient says so.
    return torch.where(added, kept * completed + likeness - likeness.detach(), completed)


def refine_edge(region: Tensor, activation: Tensor) -> Tensor:
    """A soft region, brought to a finer layer's resolution, with its edge where that layer's discriminant sees it.

    Where a region is too small to learn from, or fills the view, its edge stays as it is. The gradient is that of the
    region in its core and that of the discriminant at the edge; the discriminant itself is taken as given.

    Args:
        region: soft region on the grid, [B, 1, h, w].
        activation: of the layer, [B, C, H, W].

    Returns:
        Soft region, [B, 1, H, W].
    """
    return torch.cat([_refine_edge(*image) for image in zip(region.split(1), activation.split(1), strict=True)])


def _refine_edge(region: Tensor, activation: Tensor) -> Tensor:
    grid, size = _size(region), _size(activation)
    coarse = F.interpolate(region, size, mode="nearest-exact")
    surroundings = Surroundings.of(region > OPEN, size)
    if not surroundings.enough:
        return coarse
    part = surroundings.part
    edge = _attention(activation[part], surroundings.inner[part], surroundings.street[part])
    soft = torch.where(surroundings.core[part], coarse[part], edge * surroundings.band[part])
    hairless = binary_opening(soft > OPEN, layer_kernel(HAIRS, grid, size))
    hard = binary_closing(hairless, layer_kernel(GAPS, grid, size)).to(soft)
    refined = torch.zeros_like(coarse)
    refined[part] = hard + soft - soft.detach()
    return refined


@dataclass(frozen=True)
class Surroundings:
    """What is known about the cells of a layer from a region on the grid, bool [1, 1, H, W] each.

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
        """The surroundings of a region.

        Args:
            inside: the region, bool [1, 1, h, w].
            size: height and width of the layer.
            sure: the part of the region that its core and inner cells are taken from, bool [1, 1, h, w]; None: all.
        """
        parts = per_image(_surroundings, inside, inside if sure is None else sure)
        return Surroundings(*_at_size(parts, size).split(1, 1))

    @property
    def enough(self) -> bool:
        """Whether there are enough cells to learn a discriminant from."""
        return min(int(self.core.sum()), int(self.street.sum())) >= FEWEST_CELLS

    @property
    def part(self) -> tuple[EllipsisType, slice, slice]:
        """An index of the rows and columns that matter: from the street on one side of the region to the other's."""
        return (..., *bounding_box(self.street | self.band))


def _surroundings(inside: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Core, inner, street and band of one image, [4, h, w], from a region and its sure part; all uint8, 0 or 1."""
    street = _dilated(inside, STREET_REACH) & (1 - _dilated(inside, STREET_GAP))
    return np.stack([_eroded(sure, CORE_DEPTH), _eroded(sure, LEARNED_DEPTH), street, _dilated(inside, EDGE_BAND)])


def _dilated(cells: np.ndarray, distance: int) -> np.ndarray:
    return cv2.dilate(cells, _window(distance))


def _eroded(inside: np.ndarray, depth: int) -> np.ndarray:
    """The region without ``depth`` cells along its edge; without fewer where nothing else would be left."""
    for distance in range(depth, 0, -1):
        eroded = cv2.erode(inside, _window(distance))
        if eroded.any():
            return eroded
    return inside


def _window(distance: int) -> np.ndarray:
    return np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)


def _attention(activation: Tensor, inside: Tensor, street: Tensor) -> Tensor:
    """How much each cell is like the inside: [1, 1, H, W], about 1 inside and about 0 on the street.

    Args:
        activation: [1, C, H, W].
        inside: cells to learn from, bool [1, 1, H, W].
        street: the same outside.
    """
    texture = _texture(activation, street)
    with torch.no_grad():
        weights, offset = discriminant(_cells(texture, inside), _cells(texture, street))
    return box_pool(project(texture, weights, offset), TEXTURE_WINDOW)


def _texture(activation: Tensor, street: Tensor) -> Tensor:
    """Z-scores against the cells of the street, averaged, and their root mean squares: [1, 2 C, H, W]."""
    cells = _cells(activation.detach(), street)
    mean = cells.mean(0)
    deviation = (cells - mean).square_().mean(0).sqrt_()
    inverse = deviation.clamp_min(LEAST_DEVIATION * deviation.mean()).clamp_min_(TINY).reciprocal_()[:, None, None]
    z = torch.addcmul(-mean[:, None, None] * inverse, activation, inverse)
    pooled = box_pool(torch.cat([z, z.square().clamp_max(LARGEST_ENERGY)], 1), TEXTURE_WINDOW)
    pooled[:, len(mean) :].add_(TINY).sqrt_()
    return pooled


def _cells(features: Tensor, where: Tensor) -> Tensor:
    """The features [1, F, H, W] of the cells where bool [1, 1, H, W] is true: [N, F]."""
    # In channels-last memory they are rows already.
    return features[0].permute(1, 2, 0)[where[0, 0]]


def _size(maps: Tensor) -> Size:
    return maps.shape[-2], maps.shape[-1]


def _at_size(cells: Tensor, size: Size) -> Tensor:
    return F.interpolate(cells.to(torch.uint8), size, mode="nearest-exact").bool()

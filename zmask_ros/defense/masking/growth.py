"""From the few pixels that are surely attacked to the whole patch: hysteresis, as in Canny's edge detector.

The fusion block's mask M (Eq. 5) opens only beyond what clean frames reach. A patch over-activates unevenly, so that M
covers its hottest parts. The region to mask is everything that would open at a fraction of the heat and is connected to
M by more than a thin bridge: behind a bridge lies a sign or a cyclist that is warm by itself.

With C the grayscale closing of H_S, q the share and r the reach of `Growth`, these are the cells (equation G of
docs/method.md) with

    max(M(C / q, H_D / q), OPEN C / (r max H_S)) > OPEN
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from torch import Tensor

from zmask_ros.defense.evidence.fusion import FusionBlock
from zmask_ros.defense.evidence.grid import Size, maximum_filter
from zmask_ros.defense.masking.morphology import components_with, label_components, per_image
from zmask_ros.defense.masking.soft_region import OPEN, open_cells

SMALLEST_HEAT = 1e-9
"""Heat that divisors are at least."""
RIM = 0.0005
"""Share of a frame's hottest cell that the rim of a patch exceeds, even if an attacker keeps the patch's middle cool:
what the network sees at the rim is partly the street."""
RIM_WINDOW: Size = (5, 5)
"""Cells of the working grid: gaps of a rim that are narrower are closed, and cells of the rim within the window around
a cell of the hole count as the hole's."""
ENCLOSING = 0.3
"""Least number of cells of the rim for each cell of the hole that it encloses."""


@dataclass(frozen=True)
class Growth:
    """How far the mask grows from where the fusion block opens.

    Attributes:
        share: the region extends to where the heat is this share of what opens the fusion block, in 0..1.
        closing: odd height and width, on the working grid: narrower gaps in the shallow heat are closed, and narrower
            bridges between parts of the region are cut.
        reach: the region also extends to where the heat is this share of the frame's hottest shallow cell, in 0..1. An
            attacker who keeps a patch just too cool for the fusion block keeps all of it cool.
        edge: the layer that refines the edge of the region, see `mask_edge`; None: cells of the working grid decide.
        solid: a component of the region that fills this share of the smallest rectangle around it, in 0..1, is
            completed to it, see `rectangles`. With 1, neither rectangles nor what a rim encloses are filled.
    """

    share: float
    closing: Size
    reach: float = 1.0
    edge: str | None = None
    solid: float = 1.0


def grow(fusion: FusionBlock, growth: Growth, shallow: Tensor, deep: Tensor, mask: Tensor) -> Tensor:
    """The soft region that is warm and connected to where M is open; differentiable.

    Args:
        fusion: the block that made ``mask`` from ``shallow`` and ``deep``.
        growth: how far to grow.
        shallow: H_S, [B, 1, h, w].
        deep: H_D, [B, 1, h, w].
        mask: M, [B, 1, h, w] in 0..1.

    Returns:
        Soft region, [B, 1, h, w].
    """
    closed = gray_closing(shallow, growth.closing)
    hottest = shallow.amax(dim=(-2, -1), keepdim=True)
    warm = (OPEN * closed / (growth.reach * hottest).clamp_min(SMALLEST_HEAT)).clamp_max(1.0)
    candidates = fusion(closed / growth.share, deep / growth.share).maximum(warm)
    # A threshold that was lowered by hand may flag a frame where nothing is open: its hottest pixel is the seed then.
    seeds = mask >= mask.amax(dim=(-2, -1), keepdim=True).clamp_max(OPEN)
    cells = (candidates > OPEN) | seeds
    if growth.solid < 1:
        cells = cells | enclosed(seeds, cells | (closed >= RIM * hottest))
    region = connected_without_bridges(seeds, cells, growth.closing)
    return open_cells(candidates.maximum(seeds.to(candidates)) * region, region)


def gray_closing(heat: Tensor, kernel: Size) -> Tensor:
    """Grayscale morphological closing of ``heat`` [B, 1, h, w]: dark gaps narrower than ``kernel`` are filled."""
    return -maximum_filter(-maximum_filter(heat, kernel), kernel)


def connected_without_bridges(seeds: Tensor, candidates: Tensor, kernel: Size) -> Tensor:
    """The candidates that are connected to a seed by no bridge narrower than ``kernel``.

    Cutting bridges (morphological opening) would also delete whole patches that are smaller than ``kernel``. A
    component that is deleted is therefore opened with smaller and smaller windows, until some of it is left at a seed.

    Args:
        seeds: bool [B, 1, h, w].
        candidates: bool [B, 1, h, w].
        kernel: odd height and width.

    Returns:
        Bool [B, 1, h, w].
    """
    return per_image(partial(_connected_without_bridges, kernel=kernel), seeds, candidates)


def _connected_without_bridges(seeds: np.ndarray, candidates: np.ndarray, kernel: Size) -> np.ndarray:
    kept, waiting = np.zeros_like(seeds), seeds & candidates
    for shrunk in range(0, max(kernel), 2):
        window = np.ones([max(1, length - shrunk) for length in kernel], np.uint8)
        region = components_with(waiting, cv2.morphologyEx(candidates, cv2.MORPH_OPEN, window))
        kept |= region
        waiting &= 1 - components_with(region, candidates)
        if not waiting.any():
            break
    return kept


def enclosed(seeds: Tensor, warm: Tensor) -> Tensor:
    """The holes that a warm rim encloses, with what is next to them of the rim.

    A rim that is thin for its hole counts for nothing: a frame around the view is not to blind the car.

    Args:
        seeds: bool [B, 1, h, w]; a rim has to be connected to one.
        warm: bool [B, 1, h, w], the cells that rims are made of.

    Returns:
        Bool [B, 1, h, w].
    """
    return per_image(_enclosed, seeds, warm)


def _enclosed(seeds: np.ndarray, warm: np.ndarray) -> np.ndarray:
    window = np.ones(RIM_WINDOW, np.uint8)
    rim = cv2.morphologyEx(components_with(seeds, warm), cv2.MORPH_CLOSE, window)
    # With a border around the image, everything that is not enclosed is connected to the first cell.
    count, labels = label_components(cv2.copyMakeBorder(1 - rim, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1))
    holes = np.where(labels == labels[0, 0], 0, labels)[1:-1, 1:-1]
    if not holes.any():
        return np.zeros_like(rim)
    # A cell of the rim counts for the hole with the highest number in the window around it.
    rims = cv2.dilate(holes.astype(np.float32), window).astype(np.int64) * rim
    hole_sizes, rim_sizes = (np.bincount(numbers.ravel(), minlength=count) for numbers in (holes, rims))
    enough = (hole_sizes > 0) & (rim_sizes >= ENCLOSING * hole_sizes)
    enough[0] = False
    return enough[holes] | enough[rims]

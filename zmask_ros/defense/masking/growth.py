"""From the few pixels that are surely attacked to the whole patch: hysteresis, as in Canny's edge detector.

The fusion block's mask M opens only beyond what clean frames reach. A patch over-activates unevenly, so that M covers
its hottest parts. The region to mask is all that would open at a fraction of the heat and hangs together with M, by
more than a thin bridge: behind a bridge lies a sign or a cyclist that is warm by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense.evidence.fusion import FusionBlock
from zmask_ros.defense.evidence.grid import Size, maximum_filter
from zmask_ros.defense.masking.morphology import each, parts_of, reached
from zmask_ros.defense.masking.rectangles import completed

OPEN = 0.5
SMALLEST_HEAT = 1e-9
RIM = 0.0005
"""Of the frame's hottest cell: whoever keeps the middle of a patch cool does not keep its rim this cool, because what
lies beside it is the street's."""
RIM_WINDOW: Size = (5, 5)
"""In which gaps of a rim are closed, and the rim of a hole counts."""
ENCLOSING = 0.3
"""Cells of the rim for each cell inside that it takes."""


@dataclass(frozen=True)
class Growth:
    """How far the mask grows from where the fusion block opens.

    Attributes:
        share: the region reaches to where the heat is this share of what opens the fusion block, in 0..1.
        closing: odd height and width, on the working grid: narrower gaps in the shallow heat are closed, and bridges
            between parts of the region are cut where they are narrower.
        reach: of the frame's hottest shallow cell; the region also reaches to where the heat is this share of that, in
            0..1. Whoever keeps a patch just cool enough for the fusion block keeps all of it cool.
        edge: the layer that says where exactly the region ends, see `refinement`; None: its cells do.
        solid: share of the smallest rectangle around a part of the region that it must fill to be completed to it, in
            0..1. See `completion`. 1 completes nothing, and takes in nothing that a rim goes around.
    """

    share: float
    closing: Size
    reach: float = 1.0
    edge: str | None = None
    solid: float = 1.0


def close_gaps(heat: Tensor, kernel: Size) -> Tensor:
    """Grey-scale morphological closing of ``heat`` [B, 1, h, w]: dark gaps narrower than ``kernel`` are filled."""
    return -maximum_filter(-maximum_filter(heat, kernel), kernel)


def without_bridges(seeds: Tensor, candidates: Tensor, kernel: Size) -> Tensor:
    """The candidates that hang together with a seed by no bridge narrower than ``kernel``; all bool [B, 1, h, w].

    Cutting bridges (morphological opening) also deletes whole patches that are smaller than ``kernel``. What hangs
    together with a seed is therefore cut as widely as leaves some of it at the seed.
    """
    return each(partial(_without_bridges, kernel=kernel), seeds, candidates)


def _without_bridges(seeds: np.ndarray, candidates: np.ndarray, kernel: Size) -> np.ndarray:
    kept, left = np.zeros_like(seeds), seeds & candidates
    for size in _shrinking(kernel):
        region = reached(left, cv2.morphologyEx(candidates, cv2.MORPH_OPEN, np.ones(size, np.uint8)))
        kept |= region
        left &= 1 - reached(region, candidates)
        if not left.any():
            break
    return kept


def _shrinking(kernel: Size) -> Iterator[Size]:
    """``kernel`` and ever smaller ones, down to one pixel."""
    height, width = kernel
    while max(height, width) > 1:
        yield height, width
        height, width = max(1, height - 2), max(1, width - 2)
    yield 1, 1


def framed(seeds: Tensor, warm: Tensor) -> Tensor:
    """What a rim of ``warm`` that hangs together with a seed goes all around, with the rim; all bool [B, 1, h, w].

    A rim that is thin for what is inside counts for nothing: nobody is to blind the car with a frame around the view.
    """
    return each(_framed, seeds, warm)


def _framed(seeds: np.ndarray, warm: np.ndarray) -> np.ndarray:
    window = np.ones(RIM_WINDOW, np.uint8)
    rim = cv2.morphologyEx(reached(seeds, warm), cv2.MORPH_CLOSE, window)
    # With a border around it, all that is not enclosed hangs together with the first cell.
    count, numbers = parts_of(cv2.copyMakeBorder(1 - rim, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1))
    inside = np.where(numbers == numbers[0, 0], 0, numbers)[1:-1, 1:-1]
    if not inside.any():
        return np.zeros_like(rim)
    beside = cv2.dilate(inside.astype(np.float32), window).astype(np.int64) * rim
    size, rims = (np.bincount(numbers.ravel(), minlength=count) for numbers in (inside, beside))
    enough = (size > 0) & (rims >= ENCLOSING * size)
    enough[0] = False
    return enough[inside] | enough[beside]


def grow(fusion: FusionBlock, growth: Growth, shallow: Tensor, deep: Tensor, mask: Tensor) -> Tensor:
    """The soft region that is warm, [B, 1, h, w] in 0..1.

    Args:
        fusion: the block that made ``mask`` from ``shallow`` (H_S) and ``deep`` (H_D), all [B, 1, h, w].
        growth: how far to grow.
    """
    even = close_gaps(shallow, growth.closing)
    hottest = shallow.amax(dim=(-2, -1), keepdim=True)
    warm = (OPEN * even / (growth.reach * hottest).clamp_min(SMALLEST_HEAT)).clamp_max(1.0)
    candidates = fusion(even / growth.share, deep / growth.share).maximum(warm)
    # A threshold that was lowered by hand may flag a frame where nothing is open: its hottest pixel is the seed then.
    seeds = mask >= mask.amax(dim=(-2, -1), keepdim=True).clamp_max(OPEN)
    warmer = (candidates > OPEN) | seeds
    if growth.solid < 1:
        warmer = warmer | framed(seeds, warmer | (even >= RIM * hottest))
    region = without_bridges(seeds, warmer, growth.closing)
    return _with(candidates.maximum(seeds.to(candidates)) * region, region)


def complete_rectangles(grown: Tensor, solid: float) -> Tensor:
    """The soft region [B, 1, h, w], completed."""
    return grown if solid >= 1 else _with(grown, completed(grown > OPEN, solid))


def _with(grown: Tensor, whole: Tensor) -> Tensor:
    """The soft region, opened in all of bool ``whole``. What is added has the region's mean gradient: it is why."""
    region = grown > OPEN
    mean = grown.sum((-2, -1), keepdim=True) / region.sum((-2, -1), keepdim=True).clamp_min(1)
    return torch.where(whole & ~region, 1 + mean - mean.detach(), grown)

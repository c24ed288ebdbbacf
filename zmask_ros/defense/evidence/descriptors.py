"""Channel-agnostic descriptors of layers: how far a cell leaves its clean range, whatever the channels are.

What differs between networks are channels; what patches do to a cell's z-scores (how many channels, how far, at which
depth, how they hang together in space) differs less. A head that sees descriptors alone needs no training on the
network that it is to defend. With z_ck as in equation H1 of docs/method.md and p-means over the channels that vary,

    M_p(v) = (mean_c |v_c|^p)^(1/p)

the descriptors d of a cell are the logarithms of these (equation H7):

    M_2(z_1)    M_1(z_1)    M_4(z_1)    M_2(z_k)    M_2(e)

of the z-scores of the cell itself, z_1, of those after box pooling, z_k, and of the cell's energies e, the root mean
squares of the z-scores of all that the layer sees in it. A head sees them standardized by what clean cells have, d',
from 0 at their median to 3 at what one in a thousand exceeds, and relative to the image, and what the whole image has,
since another camera moves all cells alike (equation H8):

    softsign(d' / 3)    softsign((d' - mean d') / 3)    softsign(mean d' / 3)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmask_ros.defense.evidence.grid import Size, area_resample, box_pool, layer_grid, layer_kernel
from zmask_ros.defense.evidence.overactivation import Activations, Branch
from zmask_ros.defense.evidence.statistics import LayerStatistics

DESCRIPTORS = 5
"""Number of descriptors of a cell, for each layer."""
VIEWS = 3
"""Number of features of each descriptor: absolute, relative to the image, and the image's own."""
LARGEST_Z = 30.0
"""Z-score above which more says nothing."""
LEAST_POWER = 1e-3
"""Added to mean powers before the logarithm, which has no finite slope at 0."""
MODERATE = 3.0
"""Deviations of the clean cells that are squashed to half of the limit, 1/2."""
ENERGY_WINDOW: Size = (3, 3)
"""Cells of the working grid over which the energies of a layer that is no finer than its grid are averaged."""


class LayerDescriptors(nn.Module):
    """The descriptors of one layer.

    Args:
        statistics: of the layer on clean frames; channels that never varied there do not count.
        kernel: odd (height, width) on the working grid, of the pooled z-scores.
        own: height and width of the layer's own grid.
        grid: height and width of the working grid.
    """

    mean: Tensor
    inverse: Tensor
    pooled_inverse: Tensor

    def __init__(self, statistics: LayerStatistics, kernel: Size, own: Size, grid: Size) -> None:
        super().__init__()
        self.own = own
        self._kernel = layer_kernel(kernel, grid, own)
        self._window = layer_kernel(ENERGY_WINDOW, grid, own)
        alive = statistics.alive
        self._count = max(1, int(alive.sum()))
        own_inverse, pooled = (
            torch.where(alive, 1 / deviation.clamp_min(1e-12), 0.0).float()[None, :, None, None]
            for deviation in statistics.moments.std[:2]
        )
        self.register_buffer("mean", statistics.mean.float()[None, :, None, None])
        self.register_buffer("inverse", own_inverse)
        self.register_buffer("pooled_inverse", pooled)

    def forward(self, activation: Tensor) -> Tensor:
        """The descriptors [B, DESCRIPTORS, *own] of the activation [B, C, H, W]."""
        centered = area_resample(activation, self.own) - self.mean
        z = _clamped(centered * self.inverse)
        squares = z.square()
        power = self._mean(squares)
        pooled = self._mean(_clamped(box_pool(centered, self._kernel) * self.pooled_inverse).square())
        fourth = self._mean(squares.square())
        energy = self._energy(activation, power)
        roots = ((power, 2), (self._mean(z.abs()), 1), (fourth, 4), (pooled, 2), (energy, 2))
        return torch.cat([(mean + LEAST_POWER).log() / root for mean, root in roots], 1)

    def _energy(self, activation: Tensor, power: Tensor) -> Tensor:
        """Mean squared z-scores of each cell, [B, 1, *own], from the layer's own resolution where that is finer."""
        if tuple(activation.shape[-2:]) == self.own:
            return box_pool(power, self._window)
        fine = _clamped((activation - self.mean) * self.inverse).square()
        return area_resample(self._mean(fine), self.own)

    def _mean(self, values: Tensor) -> Tensor:
        """Mean over the channels that vary, [B, 1, h, w]; the others are 0."""
        return values.sum(1, keepdim=True) / self._count


def _clamped(z: Tensor) -> Tensor:
    return z.clamp(-LARGEST_Z, LARGEST_Z)


class StandardizedDescriptors(nn.Module):
    """The features of one layer for a head: its descriptors, standardized, in three views (equation H8).

    Args:
        name: of the layer.
        descriptors: of the layer.
        clean: median and deviation [1, DESCRIPTORS] of the descriptors of clean cells.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, name: str, descriptors: LayerDescriptors, clean: LayerStatistics) -> None:
        super().__init__()
        self.name = name
        self.descriptors = descriptors
        self.register_buffer("offset", clean.mean.float()[None, :, None, None])
        deviation = clean.moments.std[0].clamp_min(1e-6)
        self.register_buffer("scale", (1 / (MODERATE * deviation)).float()[None, :, None, None])

    def forward(self, taps: Activations) -> list[Tensor]:
        """The views of the layer's descriptors, each [B, DESCRIPTORS, *own] in -1..1."""
        return self.views(self.descriptors(taps[self.name]))

    def views(self, descriptors: Tensor) -> list[Tensor]:
        """The views of descriptors [B, DESCRIPTORS, *own], each of the same shape, in -1..1."""
        return views_of(self.standardize(descriptors))

    def standardize(self, descriptors: Tensor) -> Tensor:
        """Descriptors [B, DESCRIPTORS, *own] as distances from their clean medians, in `MODERATE` deviations."""
        return (descriptors - self.offset) * self.scale


def views_of(standardized: Tensor) -> list[Tensor]:
    """Equation H8: the views of standardized descriptors [B, DESCRIPTORS, h, w], each of that shape, in -1..1."""
    whole = standardized.mean((-2, -1), keepdim=True)
    views = (standardized, standardized - whole, whole.expand_as(standardized))
    return [F.softsign(view) for view in views]


class DescriptorFeatures(nn.Module):
    """The features of all layers of a channel-agnostic head, one group a layer.

    Args:
        branch: layers, shallow to deep, and one kernel.
        statistics: of each of the layers, by name.
        clean: median and deviation of the descriptors of clean cells, by layer name.
        sizes: height and width of each of the layers, by name.
        grid: height and width of the working grid.
    """

    def __init__(
        self,
        branch: Branch,
        statistics: dict[str, LayerStatistics],
        clean: dict[str, LayerStatistics],
        sizes: dict[str, Size],
        grid: Size,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.groups = nn.ModuleList(
            StandardizedDescriptors(
                name, LayerDescriptors(statistics[name], branch.kernels[0], layer_grid(sizes[name], grid), grid), own
            )
            for name, own in ((name, clean[name]) for name in branch.layers)
        )
        self.counts: list[int] = [VIEWS * DESCRIPTORS] * len(branch.layers)

    def seen(self, taps: Activations) -> list[Tensor]:
        """What the features of each layer are computed from: its standardized descriptors, [B, DESCRIPTORS, h, w]."""
        groups = cast(Sequence[StandardizedDescriptors], self.groups)
        return [group.standardize(group.descriptors(taps[group.name])) for group in groups]

    def of_seen(self, seen: Sequence[Tensor]) -> list[list[Tensor]]:
        """The features of each layer, from what `seen` gave."""
        return [views_of(own) for own in seen]

    def views(self, descriptors: Sequence[Tensor]) -> list[list[Tensor]]:
        """The features of each layer, from the layers' descriptors, each [B, DESCRIPTORS, h, w]."""
        groups = cast(Sequence[StandardizedDescriptors], self.groups)
        return [group.views(own) for group, own in zip(groups, descriptors, strict=True)]

"""The evidence head: which channels count, learned against attackers who adapt to it.

Z-Mask takes the mean over all channels of a layer, so that an attacker who keeps most of them calm has won. The head
looks at the same quantities, each channel's z-score after box pooling and the energy of its z-scores, in several layers
at once, and weighs them: a linear map of every cell of the working grid to a few hidden values, two small convolutions
that look at what surrounds a cell, since a patch has parts that are calm by themselves, and a linear map of both. All
of it is differentiable, so that attacks go through it, and it is trained against such attacks (`hardening`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmask_ros.defense.evidence.grid import LANES, Size, area_resample, box_pool, layer_grid, layer_kernel, resample
from zmask_ros.defense.evidence.overactivation import Activations, Branch
from zmask_ros.defense.evidence.statistics import LayerStatistics

HIDDEN = 32
CONTEXT = 16
"""Values of a cell that come from what surrounds it."""
DILATIONS = (2, 4)
"""Of the two convolutions over 3 x 3 cells: together they see 13 x 13."""
MODERATE = 3.0
"""z-score that is taken for half of the most that there can be."""
# Of the working grid, whose hottest cells make the score: a small patch, but more than a traffic sign.
SCORED_SHARE = 0.03
# The chance of a patch that an untrained head gives every cell.
PRIOR = 0.05
LEAST_ENERGY = 1e-6
ONE_CELL = (1, 1)


@dataclass(frozen=True)
class Head:
    """A head's layers and weights, as a profile keeps them.

    Attributes:
        branch: its layers with kernels.
        textured: whether energies are among the features.
        inner: float [HIDDEN, F], of each of F features, in the order of `HeadFeatures`.
        inner_bias: float [HIDDEN].
        near, near_bias: of the first convolution, float [CONTEXT, HIDDEN, 3, 3] and [CONTEXT].
        far, far_bias: of the second one, float [CONTEXT, CONTEXT, 3, 3] and [CONTEXT].
        outer: float [HIDDEN + CONTEXT].
        outer_bias: float [1].
    """

    branch: Branch
    textured: bool
    inner: Tensor
    inner_bias: Tensor
    near: Tensor
    near_bias: Tensor
    far: Tensor
    far_bias: Tensor
    outer: Tensor
    outer_bias: Tensor

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The weights by name."""
        return {name: getattr(self, name) for name in WEIGHTS}


WEIGHTS = tuple(entry.name for entry in fields(Head) if entry.name not in ("branch", "textured"))


class GroupFeatures(nn.Module):
    """What the head sees of the layers that share a grid: z-scores, squashed to `z / (MODERATE + |z|)`.

    Of each channel: its z-score after box pooling, one a kernel, and on the working grid also the root mean square of
    its z-scores over the smallest kernel, which is where a texture shows that has no mean. Layers are joined before
    anything is computed, because on small maps the number of operations counts.

    Args:
        layers: statistics by layer name.
        kernels: of the head, on the working grid.
        own: the layers' own grid.
        grid: the working grid.
        widest: of the kernels, the first that is used; those before it are left out.
        textured: whether energies are among the features, on the working grid.
    """

    offset: Tensor
    inverse: Tensor
    padding: Tensor

    def __init__(
        self,
        layers: dict[str, LayerStatistics],
        kernels: tuple[Size, ...],
        own: Size,
        grid: Size,
        first_kernel: int = 0,
        textured: bool = True,
    ) -> None:
        super().__init__()
        self.names = tuple(layers)
        self.own = own
        self.kernels = [layer_kernel(kernel, grid, own) for kernel in kernels[first_kernel:]]
        self.textured = textured and own == grid
        inverse = torch.cat([torch.where(s.alive, 1 / s.moments.std.clamp_min(1e-12), 0.0) for s in layers.values()], 1)
        inverse = torch.cat([inverse[:1], inverse[1 + first_kernel :]])
        mean = torch.cat([s.mean for s in layers.values()])
        self._channels = [len(s.mean) for s in layers.values()]
        empty = -sum(self._channels) % LANES
        moderate = inverse / MODERATE
        self.register_buffer("offset", F.pad(-mean * moderate, (0, empty)).float()[:, :, None, None])
        self.register_buffer("inverse", F.pad(moderate, (0, empty)).float()[:, :, None, None])
        padding = torch.zeros(1, empty, *own).to(memory_format=torch.channels_last)
        self.register_buffer("padding", padding, persistent=False)

    @property
    def count(self) -> int:
        """Number of features."""
        return (len(self.kernels) + self.textured) * sum(self._channels)

    def forward(self, taps: Activations) -> list[Tensor]:
        """The features one kernel after the other, the energy last: each [B, C, *own]."""
        activations = [taps[name] for name in self.names]
        joined = self._join([area_resample(a, self.own) for a in activations])
        parts = [
            _squashed(box_pool(joined, kernel), offset, inverse, kernel == ONE_CELL)
            for kernel, offset, inverse in zip(self.kernels, self.offset[1:], self.inverse[1:], strict=True)
        ]
        if self.textured:
            # The root has no slope at 0, so a little is added below it.
            energy = box_pool(self._energy(activations), self.kernels[-1])
            parts.append(_softsign(energy.add_(LEAST_ENERGY).sqrt_()))
        channels = sum(self._channels)
        return [part[:, :channels] for part in parts]

    def _join(self, maps: list[Tensor]) -> Tensor:
        """[B, C, *own] of all layers, with channels of zeros behind them that fill up the last register."""
        if self.padding.shape[1] > 0:
            maps = [*maps, self.padding.expand(len(maps[0]), -1, -1, -1)]
        return torch.cat(maps, 1) if len(maps) > 1 else maps[0]

    def _energy(self, activations: list[Tensor]) -> Tensor:
        """Squared z-scores, each layer's taken at its own resolution: [B, C, *own]."""
        channels = sum(self._channels)
        offsets, inverses = (v[0, :channels].split(self._channels) for v in (self.offset, self.inverse))
        parts = zip(activations, offsets, inverses, strict=True)
        return self._join([area_resample(torch.addcmul(o, a, i).square_(), self.own) for a, o, i in parts])


def _squashed(pooled: Tensor, offset: Tensor, inverse: Tensor, shared: bool) -> Tensor:
    """The features of pooled activations; in their memory, unless that is ``shared`` or there is a slope to keep."""
    kept = shared or pooled.requires_grad
    return _softsign(torch.addcmul(offset, pooled, inverse, out=None if kept else pooled))


def _softsign(x: Tensor) -> Tensor:
    """`x / (1 + |x|)`; in the memory of ``x`` where there is no slope to keep, since a cold cache waits for memory."""
    return F.softsign(x) if x.requires_grad else x.div_(x.abs().add_(1))


class HeadFeatures(nn.Module):
    """The features of a head's layers, those of each grid together.

    On the working grid, where they cost the most, only the narrowest kernel is used: what surrounds a cell is what the
    head's convolutions see.

    Args:
        branch: layers and kernels.
        statistics: of each of the layers, by name.
        sizes: height and width of each of the layers, by name.
        grid: the working grid.
        textured: whether energies are among the features.
    """

    def __init__(
        self,
        branch: Branch,
        statistics: dict[str, LayerStatistics],
        sizes: dict[str, Size],
        grid: Size,
        textured: bool = True,
    ) -> None:
        super().__init__()
        self.grid = grid
        grids: dict[Size, dict[str, LayerStatistics]] = {}
        for name in branch.layers:
            grids.setdefault(layer_grid(sizes[name], grid), {})[name] = statistics[name]
        narrowest = len(branch.kernels) - 1
        groups = [
            GroupFeatures(own, branch.kernels, size, grid, narrowest if size == grid else 0, textured)
            for size, own in grids.items()
        ]
        self.groups = nn.ModuleList(groups)
        self.counts = [group.count for group in groups]


def untrained_head(branch: Branch, features: int, seed: int, textured: bool = True) -> Head:
    """A head that thinks nothing yet, for so many ``features``, with energies among them if it is ``textured``."""
    generator = torch.Generator().manual_seed(seed)

    def weights(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * (2 / math.prod(shape[1:])) ** 0.5

    seen = HIDDEN + CONTEXT
    return Head(
        branch,
        textured,
        inner=weights(HIDDEN, features),
        inner_bias=torch.zeros(HIDDEN),
        near=weights(CONTEXT, HIDDEN, 3, 3),
        near_bias=torch.zeros(CONTEXT),
        far=weights(CONTEXT, CONTEXT, 3, 3),
        far_bias=torch.zeros(CONTEXT),
        outer=torch.randn(seen, generator=generator) * (1 / seen) ** 0.5,
        outer_bias=torch.logit(torch.tensor([PRIOR])),
    )


class EvidenceHead(nn.Module):
    """Heat at least 0 from the taps of one forward pass; `1 - exp(-heat)` is the chance that a cell shows a patch.

    Args:
        features: of the layers of ``head``.
    """

    inner: Tensor
    inner_bias: Tensor
    near: Tensor
    near_bias: Tensor
    far: Tensor
    far_bias: Tensor
    outer: Tensor
    outer_bias: Tensor

    def __init__(self, head: Head, features: HeadFeatures) -> None:
        super().__init__()
        self.branch, self.textured = head.branch, head.textured
        self.features = features
        for name, weights in head.tensors.items():
            self.register_parameter(name, nn.Parameter(weights.float().clone(), requires_grad=False))

    def forward(self, taps: Activations) -> Tensor:
        """[B, 1, *grid]."""
        # Linear maps and interpolation commute, constants as well: the few hidden maps are resized, not many features.
        bias = self.inner_bias / len(self.features.groups)
        groups = zip(self.inner.split(self.features.counts, 1), self.features.groups, strict=True)
        first, *others = [resample(linear(group(taps), w, bias), self.features.grid) for w, group in groups]
        hidden = sum(others, first).relu_()
        near = _around(hidden, self.near, self.near_bias, DILATIONS[0])
        context = _around(near, self.far, self.far_bias, DILATIONS[1])
        return F.softplus(linear([hidden, context], self.outer[None], self.outer_bias))


def _around(x: Tensor, weights: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """3 x 3 cells, ``dilation`` apart, to each cell of [B, C, h, w]; at least 0. Beyond the border there is nothing."""
    return F.conv2d(x, weights, bias, padding=dilation, dilation=dilation).relu_()


def linear(parts: list[Tensor], weights: Tensor, bias: Tensor) -> Tensor:
    """A linear map of every cell of ``parts``, [B, C_i, h, w]; ``weights`` [K, sum C_i], ``bias`` [K]; [B, K, h, w].

    As products of matrices, of which channels-last memory is one already; a convolution would join the parts first.
    """
    batch, _, height, width = parts[0].shape
    first, *others = [part.permute(0, 2, 3, 1).flatten(0, 2) for part in parts]
    weight, *weights_of_others = [piece.T for piece in weights.split([part.shape[1] for part in parts], 1)]
    mapped = torch.addmm(bias, first, weight)
    for other, weight in zip(others, weights_of_others, strict=True):
        mapped.addmm_(other, weight)
    return mapped.view(batch, height, width, -1).permute(0, 3, 1, 2)


def head_score(heat: Tensor) -> Tensor:
    """Mean heat of an image's hottest cells, `SCORED_SHARE` of all: [B, 1, h, w] to [B], at least 0.

    A mean over the mask, as the paper's score is, would let one hot sign weigh as much as a patch.
    """
    cells = heat.flatten(1)
    return cells.topk(max(1, round(SCORED_SHARE * cells.shape[1])), dim=1).values.mean(1)

"""The features that an evidence head sees: squashed z-scores of every channel, layers of the same grid together.

With mu, sigma and boxpool as in Eq. 1 and 2, they are these (equations H1 to H3 of docs/method.md):

    z_ck = (boxpool_k(A_c) - mu_c) / sigma_ck
    e_c = sqrt(boxpool(((A_c - mu_c) / sigma_c)^2))
    f = z / (MODERATE + |z|), e / (MODERATE + e)

Relative features have the image's own mean of each channel in place of mu_c, followed as far as half of sigma_c
(equation H2b). Another street, lens or light moves all cells of an image alike, mostly by less than that, and a head
that sees it takes for a patch what is only another place. A patch that covers half of an image moves the mean by more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.evidence.grid import LANES, Size, area_resample, box_pool, layer_grid, layer_kernel
from zmask_ros.defense.evidence.overactivation import Activations, Branch
from zmask_ros.defense.evidence.statistics import LayerStatistics
from zmask_ros.defense.evidence.taps import Shape

MODERATE = 3.0
"""The z-score that is squashed to half of the limit, 1/2."""
MOST_SHIFT = 0.5
"""Standard deviations of single cells by which an image's own mean may be from the clean one, to stand for it."""
LEAST_ENERGY = 1e-6
"""Added to mean squared z-scores before the root, which has no finite slope at 0."""
ONE_CELL = (1, 1)


class GroupFeatures(nn.Module):
    """The features of the layers that share a grid: z-scores, squashed to `z / (MODERATE + |z|)`.

    Each channel has its z-score after box pooling, one for each kernel, and on the working grid also the root mean
    square of its z-scores over the smallest kernel, its energy: there shows a texture that has no mean. Layers are
    joined before anything is computed, because on small maps the number of operations counts.

    Args:
        layers: statistics by layer name.
        kernels: of the head, on the working grid.
        own: height and width of the layers' own grid.
        grid: height and width of the working grid.
        first_kernel: index of the first kernel that is used; those before it are left out.
        kind: which features; energies are among them on the working grid only.
    """

    offset: Tensor
    inverse: Tensor
    mean: Tensor
    reach: Tensor
    padding: Tensor

    def __init__(
        self,
        layers: dict[str, LayerStatistics],
        kernels: tuple[Size, ...],
        own: Size,
        grid: Size,
        first_kernel: int = 0,
        kind: FeatureKind = FeatureKind.ENERGIES,
    ) -> None:
        super().__init__()
        self.names = tuple(layers)
        self.own = own
        self.kernels = [layer_kernel(kernel, grid, own) for kernel in kernels[first_kernel:]]
        self.textured = kind.textured and own == grid
        self._relative = kind.relative
        inverse = torch.cat([torch.where(s.alive, 1 / s.moments.std.clamp_min(1e-12), 0.0) for s in layers.values()], 1)
        inverse = torch.cat([inverse[:1], inverse[1 + first_kernel :]])
        mean = torch.cat([s.mean for s in layers.values()])
        self._channels = [len(s.mean) for s in layers.values()]
        empty = -sum(self._channels) % LANES
        moderate = inverse / MODERATE
        self.register_buffer("offset", F.pad(-mean * moderate, (0, empty)).float()[:, :, None, None])
        self.register_buffer("inverse", F.pad(moderate, (0, empty)).float()[:, :, None, None])
        if self._relative:
            reach = MOST_SHIFT * torch.cat([s.moments.std[0] for s in layers.values()])
            self.register_buffer("mean", F.pad(mean, (0, empty)).float()[:, None, None])
            self.register_buffer("reach", F.pad(reach, (0, empty)).float()[:, None, None])
        padding = torch.zeros(1, empty, *own).to(memory_format=torch.channels_last)
        self.register_buffer("padding", padding, persistent=False)

    @property
    def count(self) -> int:
        """Number of features."""
        return (len(self.kernels) + self.textured) * sum(self._channels)

    def forward(self, taps: Activations) -> list[Tensor]:
        """The features of one kernel after the other, the energy last, each [B, C, *own] in -1..1."""
        activations = [taps[name] for name in self.names]
        joined = self._join([area_resample(a, self.own) for a in activations])
        own, *offsets = self._offsets(joined)
        parts = [
            _squashed(box_pool(joined, kernel), offset, inverse, kernel == ONE_CELL)
            for kernel, offset, inverse in zip(self.kernels, offsets, self.inverse[1:], strict=True)
        ]
        if self.textured:
            energy = box_pool(self._squared_z_scores(activations, own), self.kernels[-1])
            parts.append(_softsign(energy.add_(LEAST_ENERGY).sqrt_()))
        channels = sum(self._channels)
        return [part[:, :channels] for part in parts]

    def _offsets(self, joined: Tensor) -> Sequence[Tensor]:
        """What is added to each channel after its scale, of single cells and of each kernel, [1 or B, C, 1, 1] each."""
        if not self._relative:
            return self.offset.unbind(0)
        shift = (joined.mean((-2, -1), keepdim=True) - self.mean).clamp(-self.reach, self.reach)
        return [offset - shift * inverse for offset, inverse in zip(self.offset, self.inverse, strict=True)]

    def _join(self, maps: list[Tensor]) -> Tensor:
        """The maps of all layers as one, [B, C, *own], with channels of zeros at the end that fill a register."""
        if self.padding.shape[1] > 0:
            # Expanded alone, it would make torch.cat leave channels-last memory, in which pooling is 12 times as fast.
            padding = self.padding.expand(maps[0].shape[0], -1, -1, -1)
            maps = [*maps, padding.contiguous(memory_format=torch.channels_last)]
        return torch.cat(maps, 1) if len(maps) > 1 else maps[0]

    def _squared_z_scores(self, activations: list[Tensor], offset: Tensor) -> Tensor:
        """Squared z-scores [B, C, *own], each layer's computed at its own resolution."""
        channels = sum(self._channels)
        offsets = offset[..., :channels, :, :].split(self._channels, dim=-3)
        inverses = self.inverse[0, :channels].split(self._channels)
        parts = zip(activations, offsets, inverses, strict=True)
        return self._join([area_resample(torch.addcmul(o, a, i).square_(), self.own) for a, o, i in parts])


def _squashed(pooled: Tensor, offset: Tensor, inverse: Tensor, shared: bool) -> Tensor:
    """The features of pooled activations, in place unless their memory is ``shared`` or a gradient is wanted."""
    if shared or pooled.requires_grad:
        return _softsign(torch.addcmul(offset, pooled, inverse))
    return _softsign(torch.addcmul(offset, pooled, inverse, out=pooled))


def _softsign(x: Tensor) -> Tensor:
    """`x / (1 + |x|)`, in place where no gradient is wanted, since new memory is slow while caches are cold."""
    return F.softsign(x) if x.requires_grad else x.div_(x.abs().add_(1))


def count_features(branch: Branch, shapes: Mapping[str, Shape], grid: Size, kind: FeatureKind) -> int:
    """The number of features of `HeadFeatures`, which takes no statistics to know.

    Args:
        branch: layers and kernels.
        shapes: (C, H, W) of each of the layers, by name.
        grid: height and width of the working grid.
        kind: which features.
    """
    count = 0
    for channels, height, width in (shapes[name] for name in dict.fromkeys(branch.layers)):
        count += channels * (1 + kind.textured if layer_grid((height, width), grid) == grid else len(branch.kernels))
    return count


class HeadFeatures(nn.Module):
    """The features of all layers of a head, those of each grid together.

    On the working grid, where they cost the most, only the smallest kernel is used: the head's convolutions see what
    surrounds a cell.

    Args:
        branch: layers and kernels.
        statistics: of each of the layers, by name.
        sizes: height and width of each of the layers, by name.
        grid: height and width of the working grid.
        kind: which features.
    """

    def __init__(
        self,
        branch: Branch,
        statistics: dict[str, LayerStatistics],
        sizes: dict[str, Size],
        grid: Size,
        kind: FeatureKind = FeatureKind.ENERGIES,
    ) -> None:
        super().__init__()
        self.grid = grid
        grids: dict[Size, dict[str, LayerStatistics]] = {}
        for name in branch.layers:
            grids.setdefault(layer_grid(sizes[name], grid), {})[name] = statistics[name]
        smallest = len(branch.kernels) - 1
        groups = [
            GroupFeatures(own, branch.kernels, size, grid, smallest if size == grid else 0, kind)
            for size, own in grids.items()
        ]
        self.groups = nn.ModuleList(groups)
        self.counts: list[int] = [group.count for group in groups]

    def seen(self, taps: Activations) -> list[Tensor]:
        """The features of each grid, joined: [B, count, h, w]."""
        return [torch.cat(group(taps), 1) for group in self.groups]

    def of_seen(self, seen: Sequence[Tensor]) -> list[list[Tensor]]:
        """The features of each grid, from what `seen` gave."""
        return [[own] for own in seen]

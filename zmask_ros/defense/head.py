"""The evidence head: which channels count, learned against attackers who adapt to it.

Z-Mask takes the mean over all channels of a layer, so that an attacker who keeps most of them calm has won. The head
looks at the same quantities, each channel's z-score after box pooling and the energy of its z-scores, in several layers
at once, and weighs them: two linear maps of every cell of the working grid with a rectifier between them. All of it is
differentiable, so that attacks go through it, and it is trained against such attacks (`hardening`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmask_ros.defense.overactivation import Activations, Branch, layer_maps
from zmask_ros.defense.pooling import Size, area_resample, box_pool, integral_image, layer_grid
from zmask_ros.defense.statistics import LayerStatistics

HIDDEN = 32
# Of the working grid, whose hottest cells make the score: a small patch, but more than a traffic sign.
SCORED_SHARE = 0.03
# The chance of a patch that an untrained head gives every cell.
PRIOR = 0.05


@dataclass(frozen=True)
class Head:
    """A head's layers and weights, as a profile keeps them.

    Attributes:
        branch: its layers with kernels.
        inner: float [HIDDEN, F], of each of F features: for each layer, for each kernel and last for the energy, one
            a channel.
        inner_bias: float [HIDDEN].
        outer: float [HIDDEN].
        outer_bias: float [1].
    """

    branch: Branch
    inner: Tensor
    inner_bias: Tensor
    outer: Tensor
    outer_bias: Tensor

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The weights by name."""
        return {name: getattr(self, name) for name in WEIGHTS}


WEIGHTS = ("inner", "inner_bias", "outer", "outer_bias")


class LayerFeatures(nn.Module):
    """What the head sees of one layer: signed logarithms of z-scores, `sign(z) log(1 + |z|)`.

    Of each channel: its z-score after box pooling, one a kernel, and the root mean square of its z-scores over the
    smallest kernel, which is where a texture shows that has no mean.
    """

    mean: Tensor
    inverse: Tensor

    def __init__(self, statistics: LayerStatistics, kernels: tuple[Size, ...]) -> None:
        super().__init__()
        self.kernels = kernels
        deviations = statistics.moments.std
        inverse = torch.where(statistics.alive, 1 / deviations.clamp_min(1e-12), 0.0)
        self.register_buffer("mean", statistics.mean.float()[:, None, None])
        self.register_buffer("inverse", inverse.float()[:, :, None, None])

    @property
    def features(self) -> int:
        """Number of features: channels times kernels and one."""
        return self.mean.shape[0] * (len(self.kernels) + 1)

    def forward(self, activation: Tensor, grid: Size) -> Tensor:
        """[B, F, h, w] on the layer's own grid, of the activation [B, C, H, W]."""
        maps, kernels = layer_maps(activation, self.kernels, grid)
        integral = integral_image(maps - self.mean)
        pooled = [box_pool(integral, k) * i for k, i in zip(kernels, self.inverse[1:], strict=True)]
        energy = ((activation - self.mean) * self.inverse[0]).square()
        own = layer_grid((activation.shape[-2], activation.shape[-1]), grid)
        mean_square = box_pool(integral_image(area_resample(energy, own)), kernels[-1]).clamp_min(0)
        signed = torch.cat(pooled, 1)
        # The root has no slope at 0, so a little is added below it.
        return torch.cat([signed.sign() * signed.abs().log1p(), (mean_square + 1e-6).sqrt().log1p()], 1)


class EvidenceHead(nn.Module):
    """Heat at least 0 from the taps of one forward pass; `1 - exp(-heat)` is the chance that a cell shows a patch.

    Args:
        statistics: of each of the head's layers, by layer name.
    """

    def __init__(self, head: Head, statistics: dict[str, LayerStatistics]) -> None:
        super().__init__()
        self.branch = head.branch
        kernels = head.branch.kernels
        self.layers = nn.ModuleList([LayerFeatures(statistics[name], kernels) for name in head.branch.layers])
        self.inner = nn.Parameter(head.inner.float().clone(), requires_grad=False)
        self.inner_bias = nn.Parameter(head.inner_bias.float().clone(), requires_grad=False)
        self.outer = nn.Parameter(head.outer.float().clone(), requires_grad=False)
        self.outer_bias = nn.Parameter(head.outer_bias.float().clone(), requires_grad=False)

    @staticmethod
    def untrained(branch: Branch, statistics: dict[str, LayerStatistics], seed: int) -> Head:
        """A head that thinks nothing yet, for layers with these ``statistics``."""
        generator = torch.Generator().manual_seed(seed)
        features = sum(LayerFeatures(statistics[name], branch.kernels).features for name in branch.layers)
        inner = torch.randn(HIDDEN, features, generator=generator) * (2 / features) ** 0.5
        outer = torch.randn(HIDDEN, generator=generator) * (1 / HIDDEN) ** 0.5
        bias = torch.logit(torch.tensor([PRIOR]))
        return Head(branch, inner, torch.zeros(HIDDEN), outer, bias)

    def forward(self, taps: Activations, grid: Size) -> Tensor:
        """[B, 1, *grid]."""
        hidden: Tensor | float = 0.0
        parts = self.inner.split([layer.features for layer in self.layers], dim=1)  # type: ignore[misc]
        for name, layer, weights in zip(self.branch.layers, self.layers, parts, strict=True):
            # Linear maps and interpolation commute: the few hidden maps are resized, not the many features.
            inner = F.conv2d(layer(taps[name], grid), weights[:, :, None, None])
            hidden = hidden + F.interpolate(inner, grid, mode="bilinear", align_corners=False)
        rectified = F.relu(hidden + self.inner_bias[:, None, None])
        return F.softplus(F.conv2d(rectified, self.outer[None, :, None, None], self.outer_bias))


def head_score(heat: Tensor) -> Tensor:
    """Mean heat of an image's hottest cells, `SCORED_SHARE` of all: [B, 1, h, w] to [B], at least 0.

    A mean over the mask, as the paper's score is, would let one hot sign weigh as much as a patch.
    """
    cells = heat.flatten(1)
    return cells.topk(max(1, round(SCORED_SHARE * cells.shape[1])), dim=1).values.mean(1)

"""Over-activation: how far a layer's activations leave their clean range, and where (Z-Mask, AAAI 2023, Section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from zmask_ros.defense.evidence.grid import Size, area_resample, box_pool, layer_grid, layer_kernel, resample
from zmask_ros.defense.evidence.statistics import LayerStatistics


class Activations(Protocol):
    """Activations by layer name: the taps of a forward pass, or a dict of kept ones."""

    def __getitem__(self, name: str, /) -> Tensor:
        """[B, C, H, W]."""
        ...


@dataclass(frozen=True)
class Branch:
    """Layers that are analysed alike: the shallow set S or the deep set D.

    Attributes:
        layers: names of the tapped layers.
        kernels: odd (height, width) on the working grid, largest first.
    """

    layers: tuple[str, ...]
    kernels: tuple[Size, ...]


def layer_maps(activation: Tensor, kernels: Sequence[Size], grid: Size) -> tuple[Tensor, list[Size]]:
    """An activation [B, C, H, W] on its own working grid [B, C, h, w], and the kernels brought to that grid."""
    own = layer_grid((activation.shape[-2], activation.shape[-1]), grid)
    return area_resample(activation, own), [layer_kernel(kernel, grid, own) for kernel in kernels]


def kernel_cascade(heats: Sequence[Tensor]) -> Tensor:
    """Heat maps of falling kernel size to one: ``T <- h_k1``, then ``T <- T / (1 + max T) * h_ki``.

    Large kernels say where at all, small ones exactly where.

    Args:
        heats: each [B, 1, h, w], at least 0, largest kernel first.

    Returns:
        [B, 1, h, w].
    """
    fused = heats[0]
    for heat in heats[1:]:
        fused = fused / (1 + fused.amax(dim=(-2, -1), keepdim=True)) * heat
    return fused


class LayerOverActivation(nn.Module):
    """The heat map of one layer: `h_k = mean_c |(boxpool_k(A_c) - mu_c) / sigma_ck|`, cascaded over the kernels k."""

    mean: Tensor
    weights: Tensor

    def __init__(self, statistics: LayerStatistics, kernels: Sequence[Size]) -> None:
        super().__init__()
        self.kernels = tuple(kernels)
        alive = statistics.alive
        inverse = torch.where(alive, 1 / statistics.deviations.clamp_min(1e-12), 0.0)
        self.register_buffer("mean", statistics.mean.float()[None, :, None, None])
        self.register_buffer("weights", (inverse / alive.sum().clamp_min(1)).float()[:, None, :])

    def heat_maps(self, activation: Tensor, grid: Size) -> list[Tensor]:
        """One heat map [B, 1, h, w] a kernel, from the activation [B, C, H, W]; h x w is the layer's own grid."""
        maps, kernels = layer_maps(activation, self.kernels, grid)
        centred = maps - self.mean
        return [self._channel_mean(box_pool(centred, k), w) for k, w in zip(kernels, self.weights, strict=True)]

    @staticmethod
    def _channel_mean(deviation: Tensor, weights: Tensor) -> Tensor:
        batch, _, height, width = deviation.shape
        return (weights @ deviation.abs().flatten(2)).view(batch, 1, height, width)

    def forward(self, activation: Tensor, grid: Size) -> Tensor:
        """Cascaded heat map [B, 1, *grid] of the activation [B, C, H, W]."""
        return resample(kernel_cascade(self.heat_maps(activation, grid)), grid)


def fuse_layers(heats: Sequence[Tensor]) -> Tensor:
    """Pixelwise maximum of heat maps [B, 1, h, w]."""
    return torch.stack(tuple(heats)).amax(0)

"""Over-activation: how far a layer's activations leave their clean range, and where (Z-Mask, AAAI 2023, Section 3).

Eq. 2 is the heat map of a layer for one pooling kernel k, with the clean mean and deviation of Eq. 1:

    h_k = mean_c |(boxpool_k(A_c) - mu_c) / sigma_ck|

Eq. 3 fuses the heat maps of falling kernel sizes k1 > k2 > ... to one, T:

    T <- h_k1,    then for each further kernel    T <- T / (1 + max T) h_ki

Eq. 4 fuses the layers of the shallow set S, and those of the deep set D, pixel by pixel:

    H_S = max of T over the layers in S,    H_D = max of T over the layers in D
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from zmask_ros.defense.evidence.grid import Size, area_resample, box_pool, layer_grid, layer_kernel, resample
from zmask_ros.defense.evidence.statistics import LayerStatistics


class Activations(Protocol):
    """Activations by layer name: the taps of a forward pass, or a dictionary."""

    def __getitem__(self, name: str, /) -> Tensor:
        """The activation [B, C, H, W] of the layer called ``name``."""
        ...


@dataclass(frozen=True)
class Branch:
    """Layers that are analyzed alike: the shallow set S, the deep set D, or the layers of an evidence head.

    Attributes:
        layers: names of the tapped layers.
        kernels: odd (height, width) on the working grid, largest first.
    """

    layers: tuple[str, ...]
    kernels: tuple[Size, ...]


def layer_maps(activation: Tensor, kernels: Sequence[Size], grid: Size) -> tuple[Tensor, list[Size]]:
    """An activation [B, C, H, W] averaged to its own grid, [B, C, h, w], and the kernels brought to that grid."""
    # Of a tensor that is traced, sides are tensors themselves.
    own = layer_grid((int(activation.shape[-2]), int(activation.shape[-1])), grid)
    return area_resample(activation, own), [layer_kernel(kernel, grid, own) for kernel in kernels]


def kernel_cascade(heats: Sequence[Tensor]) -> Tensor:
    """Eq. 3: heat maps of falling kernel size, fused to one. Large kernels say roughly where, small ones exactly.

    Args:
        heats: each [B, 1, h, w], at least 0, largest kernel first.

    Returns:
        T, [B, 1, h, w], at least 0.
    """
    fused = heats[0]
    for heat in heats[1:]:
        fused = fused / (1 + fused.amax(dim=(-2, -1), keepdim=True)) * heat
    return fused


class LayerOverActivation(nn.Module):
    """The heat map of one layer: Eq. 2 for each kernel, fused by Eq. 3.

    Args:
        statistics: of the layer on clean frames; channels that never varied there are left out of the mean of Eq. 2.
        kernels: odd (height, width) on the working grid, largest first.
    """

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
        """Eq. 2: one heat map [B, 1, h, w] a kernel, on the layer's own grid, of the activation [B, C, H, W]."""
        maps, kernels = layer_maps(activation, self.kernels, grid)
        batch, _, height, width = maps.shape
        # Pooling leaves a constant as it is, so the mean is subtracted once and not for each kernel.
        centered = maps - self.mean
        return [
            (weights @ box_pool(centered, kernel).abs().flatten(2)).view(batch, 1, height, width)
            for kernel, weights in zip(kernels, self.weights, strict=True)
        ]

    def forward(self, activation: Tensor, grid: Size) -> Tensor:
        """The fused heat map T [B, 1, *grid] of the activation [B, C, H, W]."""
        return resample(kernel_cascade(self.heat_maps(activation, grid)), grid)


def fuse_layers(heats: Sequence[Tensor]) -> Tensor:
    """Eq. 4: the pixelwise maximum [B, 1, h, w] of the heat maps of several layers, each [B, 1, h, w]."""
    return torch.stack(tuple(heats)).amax(0)

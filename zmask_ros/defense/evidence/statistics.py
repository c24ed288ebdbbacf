"""Clean statistics: streaming, mergeable moments of each channel (Z-Mask, AAAI 2023, Section 3).

Moments are merged after Chan, Golub and LeVeque (1979), so that bags can be fitted apart and merged later.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# A channel that varies ten thousand times less than its layer's median channel is constant but for rounding.
DEAD_CHANNEL_SHARE = 1e-4


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of a tensor of quantities, each seen ``count`` times.

    Attributes:
        count: number of observations, at least 0.
        mean: float64, any shape.
        m2: float64, same shape: sum of squared deviations from the mean.
    """

    count: int
    mean: Tensor
    m2: Tensor

    @staticmethod
    def of(values: Tensor) -> Moments:
        """Moments over the last dimension of ``values`` [..., N], in their own precision; merging is in float64."""
        values = values.detach()
        mean = values.mean(dim=-1, keepdim=True)
        spread = torch.linalg.vector_norm(values - mean, dim=-1).double().square()
        return Moments(values.shape[-1], mean.squeeze(-1).double().cpu(), spread.cpu())

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of observations together.

        Raises:
            ValueError: the two describe quantities of different shapes.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"moments of shape {tuple(self.mean.shape)} and {tuple(other.mean.shape)} do not merge")
        count = self.count + other.count
        if count == 0:
            return self
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        m2 = self.m2 + other.m2 + delta.square() * (self.count * other.count / count)
        return Moments(count, mean, m2)

    @property
    def finite(self) -> bool:
        """Whether there is neither NaN nor infinity in them."""
        return bool(torch.isfinite(self.mean).all() and torch.isfinite(self.m2).all())

    @property
    def std(self) -> Tensor:
        """Population standard deviation, float64, the shape of ``mean``."""
        return (self.m2 / max(self.count, 1)).clamp_min(0).sqrt()


@dataclass(frozen=True)
class LayerStatistics:
    """What one layer does on clean frames.

    Attributes:
        moments: of shape [K + 1, C]: row 0 of the activations themselves, row 1 + i of the activations after
            box pooling with the i-th kernel. Pooling averages deviations away, so each kernel has its own sigma.
    """

    moments: Moments

    def merge(self, other: LayerStatistics) -> LayerStatistics:
        """Statistics of both sets of frames together."""
        return LayerStatistics(self.moments.merge(other.moments))

    @property
    def alive(self) -> Tensor:
        """Bool [C]: channels that vary on clean frames. The others carry no z-score and are dropped."""
        std = self.moments.std
        return (std > DEAD_CHANNEL_SHARE * std.median(dim=1, keepdim=True).values).all(dim=0)

    @property
    def mean(self) -> Tensor:
        """mu_c, float64 [C]."""
        return self.moments.mean[0]

    @property
    def deviations(self) -> Tensor:
        """sigma_ck, float64 [K, C]."""
        return self.moments.std[1:]

"""Clean statistics: mergeable moments of each channel over clean images (Z-Mask, AAAI 2023, Section 3): Eq. 1.

Eq. 1 is the mean of channel c of the activation A, and its standard deviation after box pooling with the kernel k, over
all positions p of all N clean images:

    mu_c = 1/N sum_p A_c(p)
    sigma_ck^2 = 1/N sum_p (boxpool_k(A_c)(p) - mean of boxpool_k(A_c))^2

Moments are merged after Chan, Golub and LeVeque (1979), so that drives can be fitted apart and merged later.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DEAD_CHANNEL_SHARE = 1e-4
"""Share of the standard deviation of a layer's median channel, below which a channel is constant but for rounding."""


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of a tensor of quantities, each observed ``count`` times.

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
        """Moments [...] over the last dimension of ``values`` [..., N], computed in their precision, in float64."""
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

    def counted(self, count: int) -> Moments:
        """The same mean and deviations, as if they came from ``count`` observations."""
        return Moments(count, self.mean, self.m2 * (count / max(self.count, 1)))

    @property
    def finite(self) -> bool:
        """Whether no moment is a NaN or an infinity."""
        return bool(torch.isfinite(self.mean).all() and torch.isfinite(self.m2).all())

    @property
    def std(self) -> Tensor:
        """Population standard deviation, float64, of the shape of ``mean``."""
        return (self.m2 / max(self.count, 1)).clamp_min(0).sqrt()


@dataclass(frozen=True)
class LayerStatistics:
    """Eq. 1 of one layer: what its channels do on clean frames.

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
        """Which channels vary on clean frames, bool [C]. The others have no z-score and are dropped."""
        std = self.moments.std
        return (std > DEAD_CHANNEL_SHARE * std.median(dim=1, keepdim=True).values).all(dim=0)

    @property
    def mean(self) -> Tensor:
        """The means mu_c of Eq. 1, float64 [C]."""
        return self.moments.mean[0]

    @property
    def deviations(self) -> Tensor:
        """The standard deviations sigma_ck of Eq. 1, float64 [K, C]."""
        return self.moments.std[1:]

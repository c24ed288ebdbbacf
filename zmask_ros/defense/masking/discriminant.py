"""Fisher's linear discriminant: weights of features that tell one set of cells from another."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 0.05
"""Share of the features' mean variance that is added to each one's, as neighboring cells are not independent."""


def discriminant(inside: Tensor, outside: Tensor) -> tuple[Tensor, float]:
    """Fisher's linear discriminant, with one covariance for both sets and a ridge.

    Args:
        inside: features of the cells of one set, [N, F].
        outside: features of the cells of the other, [M, F].

    Returns:
        Weights [F] and an offset: weighted features plus offset are 0 at the mean of ``outside`` and 1 at the mean of
        ``inside``.
    """
    inside_mean, outside_mean = inside.mean(0), outside.mean(0)
    difference = inside_mean - outside_mean
    inner, outer = inside - inside_mean, outside - outside_mean
    covariance = torch.addmm(inner.T @ inner, outer.T, outer).div_(len(inside) + len(outside))
    variances = covariance.diagonal()
    variances.add_(RIDGE * variances.mean().clamp_min(1e-9))
    weights = torch.linalg.solve(covariance, difference)
    weights = weights / (weights @ difference).clamp_min(1e-9)
    return weights, -float(weights @ outside_mean)


def project(features: Tensor, weights: Tensor, offset: float) -> Tensor:
    """The value of a discriminant at every cell: about 1 inside, about 0 outside.

    Args:
        features: [B, F, h, w].
        weights: [F], of the discriminant.
        offset: of the discriminant.

    Returns:
        [B, 1, h, w].
    """
    # A convolution would give its one channel strides that are pooled half as fast.
    return (features.movedim(1, -1) @ weights + offset)[:, None]

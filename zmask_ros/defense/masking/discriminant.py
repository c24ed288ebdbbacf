"""What tells one set of cells from another, linearly."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 0.05
"""Of the features' mean variance, added to each one's: a frame has fewer independent cells than it has cells."""


def discriminant(inside: Tensor, outside: Tensor) -> tuple[Tensor, float]:
    """Weights [F] and offset that are 0 at the mean of ``outside`` and 1 at the mean of ``inside``, each [N, F].

    Fisher's linear discriminant with the two variances taken alike and a ridge.
    """
    here, there = inside.mean(0), outside.mean(0)
    inner, outer = inside - here, outside - there
    covariance = torch.addmm(inner.T @ inner, outer.T, outer).div_(len(inside) + len(outside))
    variances = covariance.diagonal()
    variances.add_(RIDGE * variances.mean().clamp_min(1e-9))
    weights = torch.linalg.solve(covariance, here - there)
    weights = weights / (weights @ (here - there)).clamp_min(1e-9)
    return weights, -float(weights @ there)


def weighed(features: Tensor, weights: Tensor, offset: float) -> Tensor:
    """[B, 1, h, w] of features [B, F, h, w], weighed by a discriminant: about 1 inside, about 0 outside."""
    # A convolution would give its one channel strides that are pooled half as fast.
    return (features.movedim(1, -1) @ weights + offset)[:, None]

"""The fusion block and the score (Z-Mask, AAAI 2023, Section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NUM_SCALARS = 8


def deep_gate(scalars: Tensor, deep: Tensor) -> Tensor:
    """G in 0..1, the shape of ``deep`` (H_D): `sigmoid(w2 tanh(w1 H_D + b1) + b2)`; ``scalars`` as in `FusionBlock`."""
    w1, b1, w2, b2 = scalars[:4]
    return torch.addcmul(b2, w2, torch.addcmul(b1, w1, deep).tanh_()).sigmoid_()


def soft_mask(scalars: Tensor, shallow: Tensor, gate: Tensor) -> Tensor:
    """M in 0..1, the shape of ``shallow`` (H_S) and ``gate`` (g): `sigmoid(w4 tanh(w3 g H_S + b3) + b4)`."""
    w3, b3, w4, b4 = scalars[4:]
    return torch.addcmul(b4, w4, torch.addcmul(b3, w3 * gate, shallow).tanh_()).sigmoid_()


class FusionBlock(nn.Module):
    """Eight scalars that turn the heat maps of the shallow and of the deep layers into a soft mask.

    The gate g lets shallow heat through only where deep layers agree.

    Args:
        scalars: float [8], in the order w1, b1, w2, b2, w3, b3, w4, b4.
    """

    def __init__(self, scalars: Tensor) -> None:
        super().__init__()
        if scalars.shape != (NUM_SCALARS,):
            raise ValueError(f"the fusion block has {NUM_SCALARS} scalars, not {tuple(scalars.shape)}")
        self.scalars = nn.Parameter(scalars.float().clone(), requires_grad=False)

    def gate(self, deep: Tensor) -> Tensor:
        """G in 0..1, the shape of ``deep`` (H_D)."""
        return deep_gate(self.scalars, deep)

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:
        """Soft mask M in 0..1 from H_S and H_D, each [B, 1, h, w]."""
        return soft_mask(self.scalars, shallow, self.gate(deep))


def attack_score(shallow: Tensor, deep: Tensor, mask: Tensor) -> Tensor:
    """`s = sum(H_D H_S M) / (1 + sum M)` an image: [B, 1, h, w] each, to [B], at least 0."""
    dims = (-3, -2, -1)
    return (deep * shallow * mask).sum(dims) / (1 + mask.sum(dims))

"""The fusion block and the score (Z-Mask, AAAI 2023, Section 3): Eq. 5 and Eq. 6.

Eq. 5 makes the soft mask M from the heat maps of the shallow layers, H_S, and of the deep ones, H_D, pixel by pixel:

    g = sigmoid(w2 tanh(w1 H_D + b1) + b2)
    M = sigmoid(w4 tanh(w3 g H_S + b3) + b4)

Eq. 6 makes the score s of an image from all three, with sums over its pixels:

    s = sum(H_D H_S M) / (1 + sum M)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

NUM_SCALARS = 8
"""Number of learned scalars of the fusion block."""


def deep_gate(scalars: Tensor, deep: Tensor) -> Tensor:
    """The gate g of Eq. 5, in 0..1.

    Args:
        scalars: float [8], in the order w1, b1, w2, b2, w3, b3, w4, b4.
        deep: H_D, any shape.

    Returns:
        The shape of ``deep``.
    """
    w1, b1, w2, b2 = scalars[:4]
    return torch.addcmul(b2, w2, torch.addcmul(b1, w1, deep).tanh_()).sigmoid_()


def soft_mask(scalars: Tensor, shallow: Tensor, gate: Tensor) -> Tensor:
    """The soft mask M of Eq. 5, in 0..1.

    Args:
        scalars: float [8], in the order w1, b1, w2, b2, w3, b3, w4, b4.
        shallow: H_S, any shape.
        gate: g, of the same shape.

    Returns:
        The shape of ``shallow``.
    """
    w3, b3, w4, b4 = scalars[4:]
    return torch.addcmul(b4, w4, torch.addcmul(b3, w3 * gate, shallow).tanh_()).sigmoid_()


class FusionBlock(nn.Module):
    """Eq. 5: eight scalars that turn the heat maps of the shallow and of the deep layers into a soft mask.

    The gate g lets shallow heat through only where deep layers agree.

    Args:
        scalars: float [8], in the order w1, b1, w2, b2, w3, b3, w4, b4.

    Raises:
        ValueError: ``scalars`` has another shape.
    """

    def __init__(self, scalars: Tensor) -> None:
        super().__init__()
        if scalars.shape != (NUM_SCALARS,):
            raise ValueError(f"the fusion block has {NUM_SCALARS} scalars, not {tuple(scalars.shape)}")
        self.scalars = nn.Parameter(scalars.float().clone(), requires_grad=False)

    def gate(self, deep: Tensor) -> Tensor:
        """The gate g in 0..1 from H_D, of the same shape."""
        return deep_gate(self.scalars, deep)

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:
        """The soft mask M in 0..1, [B, 1, h, w], from H_S and H_D, each [B, 1, h, w]."""
        return soft_mask(self.scalars, shallow, self.gate(deep))


def attack_score(shallow: Tensor, deep: Tensor, mask: Tensor) -> Tensor:
    """Eq. 6: the score s of each image, [B], at least 0, from H_S, H_D and M, each [B, 1, h, w]."""
    dims = (-3, -2, -1)
    return (deep * shallow * mask).sum(dims) / (1 + mask.sum(dims))

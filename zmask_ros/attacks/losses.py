"""What a patch is optimised for: an untargeted attack on segmentation, and smoothness.

After the segmentation attacks of Nesti et al., WACV 2022 and Rossolini et al., AAAI 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

IGNORED = 255
NEGLIGIBLE = 1e-3
"""Share below which a group of pixels is not worth a backward pass of its own."""


@dataclass(frozen=True)
class AttackGradient:
    """The attack's step at one batch.

    Attributes:
        direction: the gradient to descend, of the patch's shape, of length <= 1.
        loss: mean cross-entropy over the labelled pixels outside the patch; the attack makes it grow.
        pixel_accuracy: share of these pixels that are still classified correctly, 0..1.
    """

    direction: Tensor
    loss: float
    pixel_accuracy: float


def attack_gradient(
    logits: Tensor, labels: Tensor, mask: Tensor, patch: Tensor, gamma: float | None = None
) -> AttackGradient:
    """``-(g n(grad_ok) + (1 - g) n(grad_wrong))`` with ``n`` the division by the Euclidean length.

    Pixels outside the patch are split into still correct and already wrong ones, each with its own cross-entropy:
    left together, the huge losses of pixels that are wrong anyway would drown those still to be won.

    Args:
        logits: [B, K, H, W], a function of ``patch``.
        labels: [B, H, W], integers; 255 is ignored.
        mask: [B, 1, H, W], 1 where the patch is; ignored too.
        patch: the leaf tensor to differentiate with respect to.
        gamma: g, 0..1; None takes the share of pixels still correct.
    """
    truth = labels.long().masked_fill(mask[:, 0] > 0, IGNORED)
    counted = truth != IGNORED
    correct = counted & (logits.argmax(1) == truth)
    wrong = counted & ~correct
    losses = functional.cross_entropy(logits, truth, ignore_index=IGNORED, reduction="none")
    accuracy = float(correct.sum() / counted.sum().clamp(min=1))
    share = accuracy if gamma is None else gamma

    direction = torch.zeros_like(patch)
    groups = [(g, chosen) for g, chosen in ((share, correct), (1 - share, wrong)) if g > NEGLIGIBLE and chosen.any()]
    for position, (weight, chosen) in enumerate(groups):
        (gradient,) = torch.autograd.grad(losses[chosen].mean(), patch, retain_graph=position + 1 < len(groups))
        direction -= weight * normalised(gradient)
    return AttackGradient(direction, float(losses.detach().sum() / counted.sum().clamp(min=1)), accuracy)


def smoothness(patch: Tensor) -> Tensor:
    """``sum (d_ij - d_i+1,j)^2 + (d_ij - d_i,j+1)^2`` over the pixels of a patch [3, h, w]."""
    return (patch.diff(dim=-2) ** 2).sum() + (patch.diff(dim=-1) ** 2).sum()


def smoothness_gradient(patch: Tensor) -> Tensor:
    """Gradient of `smoothness`, divided by its length."""
    leaf = patch.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(smoothness(leaf), leaf)
    return normalised(gradient)


def normalised(gradient: Tensor) -> Tensor:
    """``gradient`` divided by its Euclidean length; zero stays zero."""
    return gradient / gradient.norm().clamp(min=1e-20)

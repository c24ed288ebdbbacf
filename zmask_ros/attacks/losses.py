"""The gradients that a patch follows: the attack on the segmentation, and smoothness.

After the segmentation attacks of Nesti et al., WACV 2022 and Rossolini et al., AAAI 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zmask_ros.attacks.objectives import Goal

UNTARGETED_GOAL = Goal()
NEGLIGIBLE = 1e-3
"""Share below which a group of pixels is not worth a backward pass of its own."""


@dataclass(frozen=True)
class AttackGradient:
    """The attack's step at one batch.

    Attributes:
        direction: the gradient to descend, of the patch's shape, of length <= 1.
        loss: mean gain of the counted pixels, see `objectives.PixelLosses`; the attack makes it grow.
        pixel_accuracy: share of the counted pixels that resist, 0..1; of an untargeted attack, those still right.
    """

    direction: Tensor
    loss: float
    pixel_accuracy: float


def attack_gradient(
    logits: Tensor,
    labels: Tensor,
    mask: Tensor,
    patch: Tensor,
    gamma: float | None = None,
    goal: Goal = UNTARGETED_GOAL,
) -> AttackGradient:
    """``-(g n(grad_resisting) + (1 - g) n(grad_won))`` with ``n`` the division by the Euclidean length.

    Pixels outside the patch are split into those still to be won and those already won, each with its own mean gain:
    left together, the huge losses of pixels that are won anyway would drown those still to be won.

    Args:
        logits: [B, K, H, W], a function of ``patch``.
        labels: [B, H, W], integers; 255 is ignored.
        mask: [B, 1, H, W], 1 where the patch is; ignored too.
        patch: the leaf tensor to differentiate with respect to; the graph is kept.
        gamma: g, 0..1; None takes the share of pixels that resist.
        goal: what the attack wants of each pixel.
    """
    pixels = goal.losses(logits, labels, mask)
    number = pixels.counted.sum().clamp(min=1)
    resistance = float(pixels.resisting.sum() / number)
    share = resistance if gamma is None else gamma

    direction = torch.zeros_like(patch)
    for weight, chosen in ((share, pixels.resisting), (1 - share, pixels.counted & ~pixels.resisting)):
        if weight > NEGLIGIBLE and bool(chosen.any()):
            (gradient,) = torch.autograd.grad(pixels.gain[chosen].mean(), patch, retain_graph=True)
            direction -= weight * normalized(gradient)
    return AttackGradient(direction, float(pixels.gain.detach()[pixels.counted].sum() / number), resistance)


def smoothness(patch: Tensor) -> Tensor:
    """``sum (d_ij - d_i+1,j)^2 + (d_ij - d_i,j+1)^2`` over the pixels of a patch [3, h, w]."""
    return (patch.diff(dim=-2) ** 2).sum() + (patch.diff(dim=-1) ** 2).sum()


def smoothness_gradient(patch: Tensor) -> Tensor:
    """Gradient of `smoothness`, divided by its length."""
    leaf = patch.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(smoothness(leaf), leaf)
    return normalized(gradient)


def gradient_of(loss: Tensor, patch: Tensor) -> Tensor:
    """Gradient of a scalar, divided by its length; 0 where the patch has no part in it. The graph is kept."""
    (gradient,) = torch.autograd.grad(loss, patch, retain_graph=True, allow_unused=True)
    return torch.zeros_like(patch) if gradient is None else normalized(gradient)


def normalized(gradient: Tensor) -> Tensor:
    """``gradient`` divided by its Euclidean length; zero stays zero."""
    return gradient / gradient.norm().clamp(min=1e-20)

"""The gradients that a patch follows: the attack on the segmentation, and smoothness.

After the segmentation attacks of Nesti et al., WACV 2022 and Rossolini et al., AAAI 2023.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zmask_ros.attacks.objectives import Goal
from zmask_ros.attacks.recipe import GROUPED

UNTARGETED_GOAL = Goal()
NEGLIGIBLE = 1e-3
"""Share below which a group of pixels is not worth a backward pass of its own."""


@dataclass(frozen=True)
class AttackGradient:
    """The attack's step at one batch.

    Attributes:
        direction: the gradient to descend, of the patch's shape, of length <= 1; or what stands for it in sums, see
            `balance.Gradients`.
        loss: mean gain of the counted pixels, see `objectives.PixelLosses`; the attack makes it grow.
        pixel_accuracy: share of the counted pixels that resist, 0..1; of an untargeted attack, those still right.
    """

    direction: Tensor
    loss: float
    pixel_accuracy: float


def raw_gradient(loss: Tensor, patch: Tensor) -> Tensor:
    """Gradient of a scalar; 0 where the patch has no part in it. The graph is kept."""
    (gradient,) = torch.autograd.grad(loss, patch, retain_graph=True, allow_unused=True)
    return torch.zeros_like(patch) if gradient is None else gradient


def gradient_of(loss: Tensor, patch: Tensor) -> Tensor:
    """`raw_gradient`, divided by its length."""
    return normalized(raw_gradient(loss, patch))


def attack_gradient(
    logits: Tensor,
    labels: Tensor,
    mask: Tensor,
    patch: Tensor,
    gamma: float | None = None,
    goal: Goal = UNTARGETED_GOAL,
    of: Callable[[str, Tensor, Tensor], Tensor] = lambda name, loss, patch: gradient_of(loss, patch),
) -> AttackGradient:
    """``-(g n(grad_resisting) + (1 - g) n(grad_won))`` with ``n`` the division by the Euclidean length.

    Pixels outside the patch are split into those still to be won and those already won, each with its own mean gain:
    left together, the huge losses of pixels that are won anyway would drown those still to be won. Losses that do not
    part them give ``-n(grad)`` of the mean over all pixels.

    Args:
        logits: [B, K, H, W], a function of ``patch``.
        labels: [B, H, W], integers; 255 is ignored.
        mask: [B, 1, H, W], 1 where the patch is; ignored too.
        patch: the leaf tensor to differentiate with respect to; the graph is kept.
        gamma: g, 0..1; None takes the share of pixels that resist.
        goal: what the attack wants of each pixel.
        of: turns a named loss into what is summed, see `balance.Gradients`; by default its normalized gradient.
    """
    pixels = goal.losses(logits, labels, mask)
    number = pixels.counted.sum().clamp(min=1)
    resistance = float(pixels.resisting.sum() / number)
    share = resistance if gamma is None else gamma

    groups = {"resisting": (share, pixels.resisting), "won": (1 - share, pixels.counted & ~pixels.resisting)}
    if goal.loss != GROUPED:
        groups = {"all": (1.0, pixels.counted)}
    direction = torch.zeros(())
    for name, (weight, chosen) in groups.items():
        if weight > NEGLIGIBLE and bool(chosen.any()):
            direction = direction - weight * of(name, pixels.gain[chosen].mean(), patch)
    return AttackGradient(direction, float(pixels.gain.detach()[pixels.counted].sum() / number), resistance)


def smoothness(patch: Tensor) -> Tensor:
    """``sum (d_ij - d_i+1,j)^2 + (d_ij - d_i,j+1)^2`` over the pixels of a patch [3, h, w]."""
    return (patch.diff(dim=-2) ** 2).sum() + (patch.diff(dim=-1) ** 2).sum()


def smoothness_gradient(patch: Tensor) -> Tensor:
    """Gradient of `smoothness`, divided by its length."""
    leaf = patch.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(smoothness(leaf), leaf)
    return normalized(gradient)


def normalized(gradient: Tensor) -> Tensor:
    """``gradient`` divided by its Euclidean length; zero stays zero."""
    return gradient / gradient.norm().clamp(min=1e-20)

"""What an attack wants of each pixel: untargeted, targeted, or one class hidden."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from zmask_ros.attacks.recipe import (
    CROSS_ENTROPY,
    FOCAL,
    GROUPED,
    LOGIT_MARGIN,
    RATIO,
    RESISTING,
    TARGETED,
    UNTARGETED,
    Loss,
    Recipe,
)
from zmask_ros.errors import AttackError
from zmask_ros.segmenters import UNLABELLED, Segmenter

FOCUS = 2.0
"""Exponent of the focal loss's weight (Lin et al., ICCV 2017)."""
SURE_LEAD = 2.0
"""Difference of logits beyond which a pixel counts as won for good: more would be taken from others."""
SPREAD = 1e-3
"""Least spread of the logits that a difference of logits is divided by."""


@dataclass(frozen=True)
class PixelLosses:
    """What a batch offers the attack, pixel by pixel, [B, H, W].

    Attributes:
        gain: differentiable; the attack makes it grow. Its mean over ``counted`` is the attack's loss.
        counted: bool, pixels that the attack is about.
        resisting: bool, those of them that are still to be won.
    """

    gain: Tensor
    counted: Tensor
    resisting: Tensor


@dataclass(frozen=True)
class Goal:
    """An objective, with the label of its target class (None for an untargeted attack), and the loss of a pixel."""

    objective: str = UNTARGETED
    target: int | None = None
    loss: Loss = GROUPED

    def losses(self, logits: Tensor, labels: Tensor, mask: Tensor) -> PixelLosses:
        """What the attack wants of each labelled pixel outside the patch.

        Args:
            logits: [B, K, H, W].
            labels: [B, H, W], integers; 255 is ignored.
            mask: [B, 1, H, W], 1 where a patch is; ignored too.
        """
        truth = labels.long().masked_fill(mask[:, 0] > 0, UNLABELLED)
        counted = truth != UNLABELLED
        predicted = logits.argmax(1)
        if self.loss != GROUPED:
            return self._together(logits, truth, counted, predicted)
        if self.target is None:
            gain = functional.cross_entropy(logits, truth, ignore_index=UNLABELLED, reduction="none")
            return PixelLosses(gain, counted, counted & (predicted == truth))
        if self.objective == TARGETED:
            wanted = torch.full_like(truth, self.target)
            gain = -functional.cross_entropy(logits, wanted, reduction="none")
            return PixelLosses(gain, counted, counted & (predicted != self.target))
        hidden = truth.eq(self.target)
        return PixelLosses(_lead_of_others(logits, self.target), hidden, hidden & (predicted == self.target))

    def _together(self, logits: Tensor, truth: Tensor, counted: Tensor, predicted: Tensor) -> PixelLosses:
        """The losses whose pixels are all taken together, of every objective."""
        if self.objective == TARGETED:
            assert self.target is not None
            wanted = torch.full_like(truth, self.target)
            resisting = counted & (predicted != wanted)
            return PixelLosses(-distance(logits, wanted, self.loss, resisting, wanted=True), counted, resisting)
        about = counted if self.target is None else truth.eq(self.target)
        shown = truth.masked_fill(~about, 0)
        resisting = about & (predicted == shown)
        return PixelLosses(distance(logits, shown, self.loss, resisting), about, resisting)


def distance(logits: Tensor, classes: Tensor, loss: Loss, resisting: Tensor, wanted: bool = False) -> Tensor:
    """How far each pixel is from being called its class, [B, H, W]: an attack makes it grow, or shrink if ``wanted``.

    Args:
        logits: [B, K, H, W].
        classes: [B, H, W], 0..K-1.
        loss: any but ``grouped``.
        resisting: bool [B, H, W], pixels that are still to be won.
        wanted: whether the attack wants these classes, rather than to be rid of them.
    """
    if loss in (LOGIT_MARGIN, RATIO):
        lead = _lead(logits, classes)
        # Of two classes the ratio is 1 or -1, without a slope.
        if loss == LOGIT_MARGIN or logits.shape[1] < 3:
            # Without an end, pixels that are won for good would be driven on, and the others forgotten.
            return lead.clamp(min=-SURE_LEAD) if wanted else lead.clamp(max=SURE_LEAD)
        ordered = logits.topk(min(3, logits.shape[1]), dim=1).values
        return lead / (ordered[:, 0] - ordered[:, -1]).clamp(min=SPREAD)
    entropy = functional.cross_entropy(logits, classes, reduction="none")
    if loss == CROSS_ENTROPY:
        return entropy
    if loss == RESISTING:
        return entropy * resisting
    assert loss == FOCAL
    confidence = (-entropy.detach()).exp()
    return entropy * ((1 - confidence) if wanted else confidence) ** FOCUS


def _lead(logits: Tensor, classes: Tensor) -> Tensor:
    """[B, H, W]: by how much the best other class beats each pixel's class [B, H, W]."""
    own = logits.gather(1, classes[:, None])[:, 0]
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return others.amax(1) - own


def _lead_of_others(logits: Tensor, target: int) -> Tensor:
    """By how much the best other class beats ``target``: unlike cross-entropy it has a slope everywhere."""
    others = logits.clone()
    others[:, target] = -torch.inf
    return others.amax(1) - logits[:, target]


def goal_of(recipe: Recipe, segmenter: Segmenter) -> Goal:
    """The recipe's goal against this segmenter.

    Raises:
        AttackError: the segmenter has no class of the target's name, or only one class.
    """
    if recipe.objective == UNTARGETED:
        return Goal(loss=recipe.loss)
    names = list(segmenter.classes)
    if recipe.target not in names:
        raise AttackError(
            f"'{segmenter.name}' has no class '{recipe.target}': the target must be one of {', '.join(names)}."
        )
    return Goal(recipe.objective, names.index(recipe.target), recipe.loss)

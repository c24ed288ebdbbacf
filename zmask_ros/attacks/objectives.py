"""What an attack wants of each pixel: untargeted, targeted, or one class hidden."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from zmask_ros.attacks.recipe import TARGETED, UNTARGETED, Recipe
from zmask_ros.errors import AttackError
from zmask_ros.segmenters import UNLABELLED, Segmenter


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
    """An objective, with the label of its target class (None for an untargeted attack)."""

    objective: str = UNTARGETED
    target: int | None = None

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
        if self.target is None:
            gain = functional.cross_entropy(logits, truth, ignore_index=UNLABELLED, reduction="none")
            return PixelLosses(gain, counted, counted & (predicted == truth))
        if self.objective == TARGETED:
            wanted = torch.full_like(truth, self.target)
            gain = -functional.cross_entropy(logits, wanted, reduction="none")
            return PixelLosses(gain, counted, counted & (predicted != self.target))
        hidden = truth.eq(self.target)
        return PixelLosses(_lead_of_others(logits, self.target), hidden, hidden & (predicted == self.target))


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
        return Goal()
    names = list(segmenter.classes)
    if recipe.target not in names:
        raise AttackError(
            f"'{segmenter.name}' has no class '{recipe.target}': the target must be one of {', '.join(names)}."
        )
    return Goal(recipe.objective, names.index(recipe.target))

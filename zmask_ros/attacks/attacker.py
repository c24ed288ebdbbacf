"""The direction of one optimisation step: every term's gradient, normalised before they are summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zmask_ros.attacks.adaptive import alarm_loss, blindness_loss, exposure_loss, flag_loss
from zmask_ros.attacks.eot import Transforms
from zmask_ros.attacks.losses import AttackGradient, attack_gradient, gradient_of, smoothness_gradient
from zmask_ros.attacks.objectives import Goal, goal_of
from zmask_ros.attacks.over_activation_loss import OverActivationLoss
from zmask_ros.attacks.printing import non_printability_gradient, read_palette, read_shape
from zmask_ros.attacks.recipe import Recipe
from zmask_ros.attacks.render import View, Viewer
from zmask_ros.defense import Analysis, Defense, Profile
from zmask_ros.errors import AttackError
from zmask_ros.segmenters import Segmenter

WITH_FLAG = {"flag", "both"}
WITH_MASK = {"mask", "both"}


@dataclass(frozen=True)
class Step:
    """One step's outcome, as means over its batch.

    Attributes:
        index: of the step, from 0, over all restarts.
        loss: what the attack makes grow, a pixel; in an untargeted attack the cross-entropy.
        pixel_accuracy: share of the attacked pixels that resist, 0..1; in an untargeted attack those still right.
        score: of the defence, None where the attack does not know it.
        masked: share of images that it masks, 0..1; None likewise.
    """

    index: int
    loss: float
    pixel_accuracy: float
    score: float | None = None
    masked: float | None = None


@dataclass(frozen=True)
class Directions:
    """What to descend along, of the shapes of the adversarial patches and of the decoys, and the outcome so far."""

    adversarial: Tensor
    decoys: Tensor
    step: Step


@dataclass(frozen=True)
class Attacker:
    """A recipe against one network, and against its defence where the attacker knows it."""

    recipe: Recipe
    goal: Goal
    viewer: Viewer
    over_activation: OverActivationLoss | None
    palette: Tensor | None

    @staticmethod
    def prepare(segmenter: Segmenter, recipe: Recipe, profile: Profile | None = None) -> Attacker:
        """Read what the recipe names, and bind the defence.

        Raises:
            AttackError: the recipe needs a profile and there is none, or it names a class or file that is not there.
            ProfileError: the profile belongs to another network.
        """
        if recipe.knows_the_defence and profile is None:
            raise AttackError("Adaptive attacks, graded patches and decoys need the defence: name its --profile.")
        if profile is None or not recipe.knows_the_defence:
            return Attacker.facing(segmenter, recipe, None)
        return Attacker.facing(segmenter, recipe, Defense(segmenter, profile))

    @staticmethod
    def facing(segmenter: Segmenter, recipe: Recipe, defense: Defense | None) -> Attacker:
        """An attacker on this very defence, whatever becomes of its weights and its threshold.

        Raises:
            AttackError: the recipe names a class or file that is not there.
        """
        shape = None if recipe.shape is None else read_shape(recipe.shape, recipe.size).to(segmenter.device)
        palette = read_palette(recipe.palette).to(segmenter.device) if recipe.non_printability > 0 else None
        heat = None if defense is None else OverActivationLoss(defense.profile).to(segmenter.device)
        viewer = Viewer(segmenter, defense, shape, recipe.auxiliary > 0)
        return Attacker(recipe, goal_of(recipe, segmenter), viewer, heat, palette)

    def look(self, images: Tensor, leaves: tuple[Tensor, Tensor], layout: Sequence[Transforms]) -> View:
        """What images [B, 3, H, W] in 0..1 look like with the patches in them; see `directions` for these."""
        return self.viewer.look(images, torch.cat(leaves), layout)

    def directions(self, view: View, labels: Tensor, leaves: tuple[Tensor, Tensor], index: int) -> Directions:
        """One batch's outcome and gradients.

        Args:
            view: from `look`, of the same leaves.
            labels: of the images, [B, H, W].
            leaves: the patches that the view depends on: the adversarial ones, [N - D, 3, h, w], and the decoys.
            index: of the step.
        """
        adversarial, decoys = leaves
        attack = self._attack(view, labels, adversarial)
        direction = self._evading(view, labels, adversarial, self._graded(view, adversarial, attack.direction))
        return Directions(
            direction + self._printing(adversarial),
            self._luring(view, decoys) if len(decoys) else torch.zeros_like(decoys),
            self._outcome(index, view, attack),
        )

    def _attack(self, view: View, labels: Tensor, patch: Tensor) -> AttackGradient:
        """The gradient on the main logits, and on the auxiliary ones where they count."""
        main = self._on_logits(view.logits, view, labels, patch)
        if not view.auxiliaries:
            return main
        weight = self.recipe.auxiliary / len(view.auxiliaries)
        further = sum(weight * self._on_logits(logits, view, labels, patch).direction for logits in view.auxiliaries)
        return AttackGradient((main.direction + further) / (1 + self.recipe.auxiliary), main.loss, main.pixel_accuracy)

    def _on_logits(self, logits: Tensor, view: View, labels: Tensor, patch: Tensor) -> AttackGradient:
        return attack_gradient(logits, labels, view.mask, patch, self.recipe.gamma, self.goal)

    def _graded(self, view: View, patch: Tensor, attack: Tensor) -> Tensor:
        beta = self.recipe.beta
        if self.over_activation is None or beta == 1:
            return attack
        mask = view.masks[:, : len(patch)].amax(1, keepdim=True)
        return beta * attack + (1 - beta) * gradient_of(self.over_activation(view.shallow, mask), patch)

    def _evading(self, view: View, labels: Tensor, patch: Tensor, attack: Tensor) -> Tensor:
        """``(1 - w) attack + w evasion``, by what the recipe's attacker wants of the defence."""
        kind, weight = self.recipe.adaptive, self.recipe.adaptive_weight
        if kind == "none":
            return attack
        if kind == "overmask":
            # A blinded car goes by what is segmented again: the first pass is of no use to this attacker.
            attack = self._graded(view, patch, self._on_defended(view, labels, patch))
            evasion = self._blinding(view, patch)
        else:
            terms = [self._below_threshold(view, patch)] if kind in WITH_FLAG else []
            terms += [self._uncovered(view, labels, patch)] if kind in WITH_MASK else []
            evasion = torch.stack(terms).mean(0)
        return (1 - weight) * attack + weight * evasion

    def _below_threshold(self, view: View, patch: Tensor) -> Tensor:
        defense, analysis = self._defended(view)
        # A frame below the attack threshold may still be masked, and then the attack is for nothing.
        return gradient_of(flag_loss(analysis, defense.thresholds.masking), patch)

    def _uncovered(self, view: View, labels: Tensor, patch: Tensor) -> Tensor:
        exposure = gradient_of(exposure_loss(view, self._region(view)), patch)
        return (self._on_defended(view, labels, patch) + exposure) / 2

    def _blinding(self, view: View, patch: Tensor) -> Tensor:
        # A frame that is not suspicious is not masked at all.
        defense, analysis = self._defended(view)
        alarm = gradient_of(alarm_loss(analysis, defense.thresholds.masking), patch)
        return (gradient_of(blindness_loss(view, self._region(view)), patch) + alarm) / 2

    def _on_defended(self, view: View, labels: Tensor, patch: Tensor) -> Tensor:
        """The attack's direction on what is segmented again under the mask."""
        return self._on_logits(self.viewer.defended_logits(view), view, labels, patch).direction

    def _region(self, view: View) -> Tensor:
        defense, analysis = self._defended(view)
        return defense.analyzer.region(analysis)

    def _defended(self, view: View) -> tuple[Defense, Analysis]:
        defense, analysis = self.viewer.defense, view.analysis
        assert defense is not None and analysis is not None
        return defense, analysis

    def _printing(self, patch: Tensor) -> Tensor:
        """What a printer wants."""
        wanted = self.recipe.smoothness * smoothness_gradient(patch)
        if self.palette is None:
            return wanted
        return wanted + self.recipe.non_printability * non_printability_gradient(patch, self.palette)

    def _luring(self, view: View, decoys: Tensor) -> Tensor:
        """Decoys want heat, as much as they can make."""
        assert self.over_activation is not None
        heat = self.over_activation(view.shallow, view.masks[:, -len(decoys) :].amax(1, keepdim=True))
        return self._printing(decoys) - gradient_of(heat, decoys)

    def _outcome(self, index: int, view: View, attack: AttackGradient) -> Step:
        defense, analysis = self.viewer.defense, view.analysis
        if defense is None or analysis is None:
            return Step(index, attack.loss, attack.pixel_accuracy)
        masked = float((analysis.score > defense.thresholds.masking).float().mean())
        return Step(index, attack.loss, attack.pixel_accuracy, float(analysis.score.detach().mean()), masked)

    @torch.no_grad()
    def merit(self, batch: tuple[Tensor, Tensor], patches: Tensor, layout: Sequence[Transforms]) -> float:
        """Share of the attacked pixels, 0..1, that are won: under the defence, if the attacker is out to evade it."""
        images, labels = batch
        view = self.viewer.look(images, patches, layout)
        logits = view.logits if self.recipe.adaptive == "none" else self.viewer.outcome(view)
        pixels = self.goal.losses(logits, labels, view.mask)
        return 1 - float(pixels.resisting.sum() / pixels.counted.sum().clamp(min=1))

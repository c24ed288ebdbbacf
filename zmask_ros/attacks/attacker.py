"""The gradient steps of a white-box evasion attack: each term's gradient, normalized before the terms are summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zmask_ros.attacks.adaptive import (
    alarm_loss,
    constraint_loss,
    excess_loss,
    flag_loss,
    mask_evasion_loss,
    overmasking_loss,
    share_above,
)
from zmask_ros.attacks.balance import AsTheyAre, Balance, EachMeasured, Gradients, Measuring, OnePass
from zmask_ros.attacks.eot import Transforms
from zmask_ros.attacks.frames import FrameStack
from zmask_ros.attacks.losses import AttackGradient, attack_gradient, gradient_of, normalized, smoothness_gradient
from zmask_ros.attacks.objectives import Goal, goal_of
from zmask_ros.attacks.over_activation_loss import OverActivationLoss
from zmask_ros.attacks.printing import non_printability_gradient, read_palette, read_shape
from zmask_ros.attacks.recipe import CONSTRAINT, PENALTY, SHARE, STAYS_BELOW, STREAM, Recipe
from zmask_ros.attacks.render import AttackedView, PatchRenderer
from zmask_ros.defense import Analysis, Defense, Profile
from zmask_ros.defense.streaming.cascade import Screening
from zmask_ros.errors import AttackError
from zmask_ros.segmenters import Segmenter, with_folded_norms


@dataclass(frozen=True)
class Step:
    """The outcome of one step, as means over its batch.

    Attributes:
        index: number of the step, from 0, over all restarts.
        loss: what the attack makes grow, per pixel; in an untargeted attack the cross-entropy.
        pixel_accuracy: share of the attacked pixels that resist, 0..1; in an untargeted attack those still right.
        score: of the defense; None where the attack does not know it.
        masked: share of the images that the defense masks, 0..1; None likewise.
    """

    index: int
    loss: float
    pixel_accuracy: float
    score: float | None = None
    masked: float | None = None

    @property
    def achieved(self) -> float:
        """What the step's patches are worth to the attacker: the share won, less that of images that are masked."""
        return (1 - self.pixel_accuracy) - (self.masked or 0.0)


@dataclass(frozen=True)
class Terms:
    """How the terms of one step become gradients, or what stands for them.

    Attributes:
        gradients: of the step.
        patch: the leaf that the losses depend on.
        name: put before the names of terms, to tell the logits apart that a loss is of.
    """

    gradients: Gradients
    patch: Tensor
    name: str = ""

    def of(self, name: str, loss: Tensor) -> Tensor:
        """What stands for ``loss`` in sums."""
        return self.gradients.of(name, loss, self.patch)

    def named(self, name: str) -> Terms:
        """The same for the logits of that name."""
        return replace(self, name=name)


@dataclass(frozen=True)
class Attacker:
    """A recipe against one network, and against its defense where the attacker knows it.

    Attributes:
        recipe: what the attack is made of.
        goal: what it wants of each pixel.
        renderer: shows patched images to the network and to the defense.
        over_activation: loss of graded patches and decoys; None where the defense is not known.
        palette: printable colors, [N, 3] in 0..1; None where the recipe does not ask for them.
    """

    recipe: Recipe
    goal: Goal
    renderer: PatchRenderer
    over_activation: OverActivationLoss | None
    palette: Tensor | None

    @staticmethod
    def prepare(segmenter: Segmenter, recipe: Recipe, profile: Profile | None = None) -> Attacker:
        """Read what the recipe names, and bind the defense if the recipe needs it.

        Raises:
            AttackError: the recipe needs a profile and there is none, or it names a class or file that is not there.
            ProfileError: the profile belongs to another network.
        """
        if recipe.folded:
            read = () if profile is None else profile.bound_layers
            segmenter = with_folded_norms(segmenter, read)
        if not recipe.knows_the_defense:
            return Attacker.against(segmenter, recipe, None)
        if profile is None:
            raise AttackError("Adaptive attacks, graded patches and decoys need the defence: name its --profile.")
        return Attacker.against(segmenter, recipe, Defense(segmenter, profile))

    @staticmethod
    def against(segmenter: Segmenter, recipe: Recipe, defense: Defense | None) -> Attacker:
        """An attacker on this very `Defense` object, whatever becomes of its weights and its threshold.

        Raises:
            AttackError: the recipe names a class or file that is not there, or a screen that the profile does not have.
        """
        screening = None
        if recipe.adaptive == STREAM and defense is not None:
            if defense.profile.screen is None:
                raise AttackError(
                    "The adaptive attacker stream stays below the screen, which this profile does not have, so that "
                    "every frame is analyzed as a whole. Set adaptive to flag, or add a screen with zmask screen."
                )
            screening = Screening(defense.profile).to(segmenter.device)
        shape = None if recipe.shape is None else read_shape(recipe.shape, recipe.size).to(segmenter.device)
        palette = read_palette(recipe.palette).to(segmenter.device) if recipe.non_printability > 0 else None
        over_activation = None if defense is None else OverActivationLoss(defense.profile).to(segmenter.device)
        renderer = PatchRenderer(segmenter, defense, shape, recipe.auxiliary > 0, screening)
        return Attacker(recipe, goal_of(recipe, segmenter), renderer, over_activation, palette)

    def directions(
        self, view: AttackedView, labels: Tensor, leaves: tuple[Tensor, Tensor], index: int, balance: Balance
    ) -> tuple[tuple[Tensor, Tensor], Step]:
        """What to descend along, in the shapes of the leaves, and the outcome of one batch.

        Args:
            view: from `PatchRenderer.render`, of the same leaves.
            labels: of the images, [B, H, W].
            leaves: the patches that the view depends on: N - D adversarial ones, [N - D, 3, h, w], and D decoys,
                [D, 3, h, w].
            index: number of the step.
            balance: of the terms so far; it learns from this step.
        """
        adversarial, decoys = leaves
        terms = Terms(self._gradients(index, balance), adversarial)
        attack = self._attack(view, labels, terms)
        combined = self._graded(view, terms, attack.direction)
        combined = self._adaptive(view, labels, terms, combined, balance)
        luring = self._decoys(view, decoys) if len(decoys) else torch.zeros_like(decoys)
        direction = terms.gradients.total(combined, adversarial)
        if self.recipe.evasion == CONSTRAINT:
            # Adam divides by how long gradients have been in the last thousand steps: after a few that a large
            # multiplier made long, those of the attack itself would hardly move the patch.
            direction = normalized(direction)
        # Losses that are added as they are have gradients of any length; printing asks for a share of it.
        scale = direction.norm() if self.recipe.evasion == PENALTY else 1.0
        return (direction + scale * self._printable(adversarial), luring), self._outcome(index, view, attack)

    def _gradients(self, index: int, balance: Balance) -> Gradients:
        """How the terms of a step are differentiated."""
        if self.recipe.evasion == PENALTY:
            return AsTheyAre()
        if self.recipe.lengths_every == 1:
            return EachMeasured()
        return (OnePass if index % self.recipe.lengths_every else Measuring)(balance.lengths)

    @torch.no_grad()
    def merit(self, batch: tuple[Tensor, Tensor], patches: Tensor, layout: Sequence[Transforms]) -> float:
        """Share of the attacked pixels, 0..1, that are won: under the defense, if the attacker is out to evade it.

        Args:
            batch: images [B, 3, H, W] in 0..1 and their labels [B, H, W].
            patches: [N, 3, h, w] in 0..1.
            layout: N transformations of B images.
        """
        images, labels = batch
        view = self.renderer.render(images, patches, layout)
        logits = view.logits if self.recipe.adaptive == "none" else self.renderer.final_logits(view)
        pixels = self.goal.losses(logits, labels, view.mask)
        return 1 - float(pixels.resisting.sum() / pixels.counted.sum().clamp(min=1))

    @torch.no_grad()
    def evadable(self, stack: FrameStack) -> FrameStack:
        """The frames that are below a constraint's limit as long as there is no patch; all of them, if none is.

        The others are above it whatever the patch is: the multiplier would grow because of them, until nothing but
        evasion is left of the attack. Without a constraint it is all frames; also where there are more of them than
        steps, for a look at each would take more than about a tenth of the attack's time.
        """
        if self.recipe.evasion != CONSTRAINT or len(stack) > self.recipe.steps:
            return stack
        device = self.renderer.segmenter.device
        nothing = torch.zeros(0, 3, *self.recipe.size, device=device)
        below = []
        for one in torch.arange(len(stack)).split(1):
            view = self.renderer.render(stack.batch(one, device)[0], nothing, ())
            below.append(share_above(self._limits(view).values(), self.recipe.margin) == 0)
        return stack.where(torch.tensor(below)) if any(below) else stack

    def _attack(self, view: AttackedView, labels: Tensor, terms: Terms) -> AttackGradient:
        """The gradient on the main logits, and on the auxiliary ones where they count."""
        main = self._on_logits(view.logits, view, labels, terms.named("main"))
        if not view.auxiliaries:
            return main
        weight = self.recipe.auxiliary / len(view.auxiliaries)
        further = sum(
            weight * self._on_logits(logits, view, labels, terms.named(f"auxiliary {n}")).direction
            for n, logits in enumerate(view.auxiliaries)
        )
        return AttackGradient((main.direction + further) / (1 + self.recipe.auxiliary), main.loss, main.pixel_accuracy)

    def _on_logits(self, logits: Tensor, view: AttackedView, labels: Tensor, terms: Terms) -> AttackGradient:
        of = terms.gradients.of
        return attack_gradient(
            logits,
            labels,
            view.mask,
            terms.patch,
            self.recipe.gamma,
            self.goal,
            lambda name, loss, patch: of(f"{terms.name} {name}", loss, patch),
        )

    def _on_defended(self, view: AttackedView, labels: Tensor, terms: Terms) -> Tensor:
        """The attack's direction on what is segmented again under the mask."""
        return self._on_logits(self.renderer.defended_logits(view), view, labels, terms.named("defended")).direction

    def _graded(self, view: AttackedView, terms: Terms, attack: Tensor) -> Tensor:
        """``b attack + (1 - b) over-activation``: a graded patch, see `over_activation_loss`."""
        beta = self.recipe.beta
        if self.over_activation is None or beta == 1:
            return attack
        mask = view.masks[:, : len(terms.patch)].amax(1, keepdim=True)
        return beta * attack + (1 - beta) * terms.of("over-activation", self.over_activation(view.shallow, mask))

    def _adaptive(self, view: AttackedView, labels: Tensor, terms: Terms, attack: Tensor, balance: Balance) -> Tensor:
        """``(1 - w) attack + w evasion``, by what the recipe's adaptive attacker wants of the defense."""
        kind, weight = self.recipe.adaptive, self.recipe.adaptive_weight
        if kind == "none":
            return attack
        if self.recipe.evasion != SHARE:
            return attack + self._bound(view, terms, balance)
        defense, analysis = self._defended(view)
        threshold = defense.thresholds.masking
        if kind == "overmask":
            # A blinded car goes by what is segmented again: the first pass is of no use to this attacker.
            attack = self._graded(view, terms, self._on_defended(view, labels, terms))
            # A frame that is not suspicious is not masked at all.
            alarm = terms.of("alarm", alarm_loss(analysis, threshold))
            evasion = (terms.of("overmasking", overmasking_loss(view, defense.analyzer.region(analysis))) + alarm) / 2
            return (1 - weight) * attack + weight * evasion
        evasions = []
        if kind in (*STAYS_BELOW, "both"):
            evasions += [terms.of(name, flag_loss(*limit)) for name, limit in self._limits(view).items()]
        if kind in ("mask", "both"):
            unmasked = terms.of("mask", mask_evasion_loss(view, defense.analyzer.region(analysis)))
            evasions.append((self._on_defended(view, labels, terms) + unmasked) / 2)
        return (1 - weight) * attack + weight * torch.stack(evasions).mean(0)

    def _bound(self, view: AttackedView, terms: Terms, balance: Balance) -> Tensor:
        """The evasion of an attacker who binds the score, with its weight."""
        limits, margin = self._limits(view).values(), self.recipe.margin
        if self.recipe.evasion == PENALTY:
            excess = torch.stack([excess_loss(*limit, margin) for limit in limits]).sum()
            return self.recipe.adaptive_weight * terms.of("excess", excess)
        assert self.recipe.evasion == CONSTRAINT
        weight = balance.multiplier
        balance.observe(share_above(limits, margin))
        return weight * terms.of("constraint", torch.stack([constraint_loss(*limit, margin) for limit in limits]).sum())

    def _limits(self, view: AttackedView) -> dict[str, tuple[Analysis, float]]:
        """The analyses whose score is to stay below a threshold, with it, by the names of their terms."""
        defense, analysis = self._defended(view)
        # A frame below the attack threshold may still be masked, and then the attack is for nothing.
        masking = defense.thresholds.masking
        limits = {"flag": (analysis, masking)}
        if view.screened is not None and self.renderer.screening is not None:
            limits["screen"] = view.screened, min(self.renderer.screening.threshold, masking)
        return limits

    def _defended(self, view: AttackedView) -> tuple[Defense, Analysis]:
        defense, analysis = self.renderer.defense, view.analysis
        assert defense is not None and analysis is not None
        return defense, analysis

    def _printable(self, patch: Tensor) -> Tensor:
        """What printing wants: smooth patches, and printable colors where the recipe asks for them."""
        wanted = self.recipe.smoothness * smoothness_gradient(patch)
        if self.palette is None:
            return wanted
        return wanted + self.recipe.non_printability * non_printability_gradient(patch, self.palette)

    def _decoys(self, view: AttackedView, decoys: Tensor) -> Tensor:
        """Decoys over-activate as much as they can."""
        assert self.over_activation is not None
        heat = self.over_activation(view.shallow, view.masks[:, -len(decoys) :].amax(1, keepdim=True))
        return self._printable(decoys) - gradient_of(heat, decoys)

    def _outcome(self, index: int, view: AttackedView, attack: AttackGradient) -> Step:
        if self.renderer.defense is None:
            return Step(index, attack.loss, attack.pixel_accuracy)
        defense, analysis = self._defended(view)
        masked = float((analysis.score > defense.thresholds.masking).float().mean())
        return Step(index, attack.loss, attack.pixel_accuracy, float(analysis.score.detach().mean()), masked)

"""Adversarial training: an evidence head learns from attackers who adapt to it while it learns, on the same images.

After Madry et al. (ICLR 2018), with a population of opponents (Tramer et al., ICLR 2018), so that the head does not
only learn what beats the last one: patches of several sizes and strengths, some of which do not know the defense and
some of which descend through it in one way or another. Each step is one step of a few of these adversaries, and one of
the head on what they show and on benign images. An adversary that has lived long enough begins anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zmask_ros.attacks import stack_frames
from zmask_ros.attacks.render import AttackedView
from zmask_ros.defense import Branch, Defense, LayerStatistics, Profile, bind, tap
from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.evidence.grid import Size
from zmask_ros.defense.evidence.head import WEIGHTS, EvidenceHead, Head, head_score, untrained_head
from zmask_ros.defense.evidence.head_features import count_features
from zmask_ros.defense.profile.detector import statistics_key
from zmask_ros.defense.profile.profile import Binding
from zmask_ros.progress import Advance, Progress, no_advance, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.adversaries import ADVERSARY_KINDS, Adversary, AdversaryKind
from zmask_ros.training.benign_batches import BenignBatches
from zmask_ros.training.clean_fit import observe
from zmask_ros.training.cross_fitting import MomentsByKey
from zmask_ros.training.kept_state import digest_of, train
from zmask_ros.training.plans import FittingPlan, LearnedPart, head_layers, kernels_on, transfer_plan
from zmask_ros.training.thresholds import opening_at

LEARNING_RATE, FINAL_LR_SHARE, WEIGHT_DECAY = 2e-3, 0.05, 1e-3
AVERAGE_DECAY = 0.99
"""Of the moving average of the weights: what the last adversaries taught must not outweigh all others."""
EVEN_HEAT = math.log(2.0)
"""Heat of a cell that is as likely a patch as not."""
MOST_BESIDE = 0.25
"""Share of a cell that a patch covers at most where the cell counts as beside it."""
NEAR_WINDOW = 5
"""Cells, odd: width of the window in which a patch is near."""
MASKED_SHARE = 0.05
"""Share of fresh clean frames above the threshold that adversaries see while it moves."""
ADVERSARIES_A_STEP = 2
"""That take a step for each one of the head: the longer they live, the more there is to learn from them."""
FIRST_SEED = 30_000
"""Of the adversaries' seeds, which count up from here."""
SAVED_EVERY = 20
"""Steps between two states on disk."""


@dataclass(frozen=True)
class HeadInputs:
    """What a head sees, and with which kernels, as shares of the image's height and width."""

    kernels: tuple[float, ...]
    kind: FeatureKind


MOST_FEATURES = 2000
"""Of a head for a network that nothing is known of: what it takes to train grows with them."""
MAIN_INPUTS = HeadInputs((0.2, 0.07), FeatureKind.ENERGIES)
"""Of a head that one training makes."""
RELATIVE_INPUTS = replace(MAIN_INPUTS, kind=FeatureKind.RELATIVE)
"""Of an untrained head that begins to be trained in rounds."""


@dataclass(frozen=True)
class AdversarialResult:
    """What came of an adversarial training.

    Attributes:
        profile: with the head; its fusion block opens where the head thinks a patch is more likely than not, and its
            threshold is the one that the adversaries have seen last.
        patches: the adversaries' last ones that were more than noise, each [3, h, w] in 0..1.
        losses: of the head, one for each step in which it learned.
    """

    profile: Profile
    patches: tuple[Tensor, ...]
    losses: tuple[float, ...]


def with_untrained_head(
    segmenter: Segmenter,
    profile: Profile,
    layers: tuple[str, ...],
    frames: Sequence[np.ndarray],
    inputs: HeadInputs = MAIN_INPUTS,
    seed: int = 0,
    progress: Progress = silent,
) -> Profile:
    """``profile`` with an untrained head for ``layers``, and their clean statistics over ``frames``.

    Its masks grow as they did.
    """
    branch, moments = Branch(layers, kernels_on(profile.grid, inputs.kernels)), MomentsByKey()
    with (
        progress("Fitting the head's layers", "frames", len(frames)) as advance,
        torch.inference_mode(),
        tap(segmenter, layers) as taps,
    ):
        for frame in frames:
            segmenter.logits(segmenter.prepare(frame))
            for name in layers:
                moments.add(statistics_key("head", name), observe(taps[name], branch.kernels, profile.grid))
            advance()
    plain = profile.without_head()
    binding = bind(segmenter, (*plain.bound_layers, *layers))
    statistics = plain.detector.statistics | {key: LayerStatistics(own) for key, own in moments.items()}
    fusion = opening_at(EVEN_HEAT / 2, EVEN_HEAT)
    head = _untrained(branch, binding, plain.grid, inputs.kind, seed)
    detector = replace(plain.detector, statistics=statistics, fusion=fusion, head=head)
    return replace(plain, binding=binding, detector=detector)


def untrained_plan(segmenter: Segmenter, begun: FittingPlan | None = None, seed: int = 0) -> FittingPlan:
    """What ``begun`` fits, or (None) `transfer_plan`, with an untrained head that sees this very network's channels.

    Of the layers of `head_layers` it sees the finest, as many as have no more than `MOST_FEATURES` together.

    Raises:
        LayerError: the description names a layer that the network does not have.
        ZmaskError: it names some for S or for D alone, or the network has none that could be tapped.
    """
    plan, layers = begun or transfer_plan(segmenter), head_layers(segmenter)
    binding = bind(segmenter, tuple(dict.fromkeys((*plan.binding.shapes, *layers))))
    kernels = kernels_on(plan.grid, RELATIVE_INPUTS.kernels)
    while True:
        head = _untrained(Branch(layers, kernels), binding, plan.grid, RELATIVE_INPUTS.kind, seed)
        if len(layers) == 1 or head.inner.shape[1] <= MOST_FEATURES:
            break
        layers = layers[:-1]
    # A profile is bound to what it has statistics of, and refused where there is more.
    edge = () if plan.growth.edge is None else (plan.growth.edge,)
    fitted = dict.fromkeys((*plan.shallow.layers, *plan.deep.layers, *layers, *edge))
    binding = replace(binding, shapes={name: binding.shapes[name] for name in fitted})
    return replace(plan, binding=binding, learned=LearnedPart(head, opening_at(EVEN_HEAT / 2, EVEN_HEAT)))


def _untrained(branch: Branch, binding: Binding, grid: Size, kind: FeatureKind, seed: int) -> Head:
    """An untrained head that sees channels of a network's layers."""
    features = count_features(branch, binding.shapes, grid, kind)
    return untrained_head(branch, features, seed, kind)


def train_adversarially(
    segmenter: Segmenter,
    profile: Profile,
    frames: Sequence[np.ndarray],
    steps: int,
    seed: int = 0,
    advance: Advance = no_advance,
    kinds: Sequence[AdversaryKind] = ADVERSARY_KINDS,
    masked_share: float = MASKED_SHARE,
    state: Path | None = None,
) -> AdversarialResult:
    """Train the head of ``profile`` further: an untrained one, or one that has met adversaries before.

    Args:
        segmenter: the network.
        profile: with a head; its threshold moves along with the head, and it has no precaution afterwards.
        frames: clean ones, uint8 [h, w, 3] at the network's input size; the network's own labels are taken for right.
        steps: of the head; `ADVERSARIES_A_STEP` times as many of the adversaries together.
        seed: of every random choice.
        advance: counts steps, each with the head's loss beside it; NaN before it learns.
        kinds: of the adversaries, one each.
        masked_share: of the clean frames, above the threshold that the adversaries have to stay below.
        state: file that the state is kept in while it runs; where there is one already, it goes on from there and ends
            as if it had never stopped. The caller deletes it.

    Raises:
        UnfitWorkError: ``state`` belongs to another training.
    """
    training = train(
        lambda: AdversarialTraining(segmenter, profile, frames, steps, seed, kinds, masked_share),
        steps,
        state,
        lambda: _identity(segmenter, profile, frames, (steps, seed, tuple(kinds), masked_share)),
        SAVED_EVERY,
        advance,
        loss_note,
    )
    return training.result()


def _identity(
    segmenter: Segmenter, profile: Profile, frames: Sequence[np.ndarray], settings: tuple[object, ...]
) -> dict[str, str]:
    """What the state of a training belongs to, by words that a sentence can use.

    Not the statistics, which are those of the frames: with other threads their last digits differ.
    """
    assert profile.detector.head is not None
    return {
        "network": segmenter.digest,
        "head to begin with": profile.detector.head.digest,
        "growth of masks": repr(profile.detector.growth),
        "set of frames": digest_of(frames),
        "set of settings": repr(settings),
    }


class AdversarialTraining:
    """An adversarial training between two of its steps; see `train_adversarially`."""

    def __init__(
        self,
        segmenter: Segmenter,
        profile: Profile,
        frames: Sequence[np.ndarray],
        steps: int,
        seed: int,
        kinds: Sequence[AdversaryKind],
        masked_share: float,
    ) -> None:
        self._profile = replace(profile, detector=replace(profile.detector, precaution=None))
        self._segmenter = segmenter
        self._defense = Defense(segmenter, self._profile)
        head = self._defense.analyzer.evidence.head
        assert isinstance(head, EvidenceHead)
        self._next_seed, self._kinds = seed + FIRST_SEED, kinds
        self._adversaries = [self._begin(kind, number) for number, kind in enumerate(kinds)]
        self._trainer = HeadTraining(head, steps)
        self._benign = BenignBatches(segmenter, self._defense, frames, seed, masked_share)
        self._stack = stack_frames(segmenter, ((frame, None) for frame in frames))
        self._patches: dict[int, Tensor] = {}
        self.losses: list[float] = []
        self.steps = 0

    def step(self) -> float:
        """A step of `ADVERSARIES_A_STEP` adversaries, and one of the head; its last loss, NaN before it learns."""
        first = self.steps * ADVERSARIES_A_STEP
        turns = (number % len(self._adversaries) for number in range(first, first + ADVERSARIES_A_STEP))
        acting = [self._adversaries[number] for number in turns]
        views = [(own, own.step(self._stack)) for own in acting]
        if attacked := [view for own, view in views if own.warmed_up]:
            heat, scores = self._benign.next()
            self.losses.append(self._trainer.descend(adversarial_loss(attacked, heat)))
            self._defense.threshold = self._benign.remember(scores)
            self._patches |= {own.number: own.attack.patches() for own in acting if own.warmed_up}
        for own in acting:
            if own.finished:
                self._adversaries[own.number] = self._begin(own.kind, own.number)
        self.steps += 1
        return self.losses[-1] if self.losses else math.nan

    def result(self) -> AdversarialResult:
        """What came of all steps so far."""
        threshold = replace(self._profile.detector.threshold, value=self._defense.threshold)
        detector = replace(self._profile.detector, head=self._trainer.averaged(), threshold=threshold, patched=None)
        last = tuple(patch for number in sorted(self._patches) for patch in self._patches[number])
        return AdversarialResult(replace(self._profile, detector=detector), last, tuple(self.losses))

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, apart from what it was begun with, for `restore`.

        To be written at once: the next step changes it.
        """
        return {
            "steps": self.steps,
            "losses": self.losses,
            "next seed": self._next_seed,
            "threshold": self._defense.threshold,
            "adversaries": [own.state() for own in self._adversaries],
            "patches": self._patches,
            "head": self._trainer.state(),
            "benign": self._benign.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state` of a training that was begun in the same way, as if it had never stopped."""
        self.steps, self.losses, self._next_seed = state["steps"], state["losses"], state["next seed"]
        self._defense.threshold, self._patches = state["threshold"], state["patches"]
        self._adversaries = [
            Adversary.restored(self._defense, self._segmenter, kind, number, own)
            for number, (kind, own) in enumerate(zip(self._kinds, state["adversaries"], strict=True))
        ]
        self._trainer.restore(state["head"])
        self._benign.restore(state["benign"])

    def _begin(self, kind: AdversaryKind, number: int) -> Adversary:
        seed, self._next_seed = self._next_seed, self._next_seed + 1
        return Adversary.begin(self._defense, self._segmenter, kind, number, seed)


class HeadTraining:
    """A head's optimizer, and the moving average of its weights.

    Args:
        head: its weights learn in place.
        steps: after which the learning rate has fallen to its end.
        weight_decay: at least 0.
        learning_rate: of the first step.
    """

    def __init__(
        self,
        head: EvidenceHead,
        steps: int,
        weight_decay: float = WEIGHT_DECAY,
        learning_rate: float = LEARNING_RATE,
    ) -> None:
        self.head = head
        self.weights = [getattr(head, name) for name in WEIGHTS]
        for weight in self.weights:
            weight.requires_grad_()
        self.optimizer = torch.optim.AdamW(self.weights, lr=learning_rate, weight_decay=weight_decay)
        last = FINAL_LR_SHARE * learning_rate
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps, last)
        self._average = [weight.detach().clone() for weight in self.weights]

    def descend(self, loss: Tensor) -> float:
        """Descend the loss, a scalar, once; its value."""
        gradients = torch.autograd.grad(loss, self.weights)
        with torch.no_grad():
            for weight, gradient in zip(self.weights, gradients, strict=True):
                weight.grad = gradient
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            for average, weight in zip(self._average, self.weights, strict=True):
                average.lerp_(weight, 1 - AVERAGE_DECAY)
        return float(loss.detach())

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, for `restore`."""
        return {
            "weights": [weight.detach().cpu() for weight in self.weights],
            "average": [own.cpu() for own in self._average],
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        with torch.no_grad():
            for weight, kept in zip(self.weights, state["weights"], strict=True):
                weight.copy_(kept)
        self._average = [kept.to(weight) for weight, kept in zip(self.weights, state["average"], strict=True)]
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])

    def averaged(self) -> Head:
        """The moving average as it is now."""
        return Head(self.head.branch, self.head.kind, *(average.clone().cpu() for average in self._average))


def adversarial_loss(attacked: Sequence[AttackedView], benign: Tensor) -> Tensor:
    """What the head loses on the images of adversaries, and on benign ones of the heat [B, 1, h, w]; a scalar."""
    return torch.stack([_loss_on(view) for view in attacked]).mean() + benign_loss(benign)


def _loss_on(view: AttackedView) -> Tensor:
    assert view.analysis is not None
    heat = view.analysis.evidence.shallow
    return attacked_loss(heat, F.adaptive_avg_pool2d(view.mask.to(heat), (heat.shape[-2], heat.shape[-1])))


def attacked_loss(heat: Tensor, share: Tensor) -> Tensor:
    """Cross-entropy of the cells on the patches, of those around them and of all others, and of images; a scalar.

    What is masked around a patch is lost for nothing, and there are few such cells: they are weighed apart.

    Args:
        heat: [B, 1, h, w], at least 0.
        share: of each cell that patches cover, 0..1, of the same shape.
    """
    inside, beside = share > 0.5, share < MOST_BESIDE
    near = F.max_pool2d(share, NEAR_WINDOW, 1, NEAR_WINDOW // 2) > 0
    on_patch = _mean_of(-_log_chance(heat), inside)
    off_patch = _mean_of(heat, beside & ~near) + _mean_of(heat, beside & near)
    return on_patch - _log_chance(head_score(heat)).mean() + off_patch


def _mean_of(values: Tensor, where: Tensor) -> Tensor:
    """Mean of ``values`` where bool ``where``; 0 where that is nowhere."""
    return (values * where).sum() / where.sum().clamp_min(1)


def benign_loss(heat: Tensor) -> Tensor:
    """Cross-entropy of all cells [B, 1, h, w], and of whole images by their scores; a scalar."""
    return heat.mean() + head_score(heat).mean()


def _log_chance(heat: Tensor) -> Tensor:
    """Logarithm of the chance of a patch that a heat stands for."""
    return (-torch.expm1(-heat.clamp_min(1e-6))).log()


def loss_note(loss: float) -> str:
    """What a progress bar says of a step's loss; the first steps have none, as the adversaries only begin."""
    return "adversaries begin" if math.isnan(loss) else f"loss {loss:.2f}"

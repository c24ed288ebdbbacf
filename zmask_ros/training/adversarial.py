"""Train the evidence head against attackers who adapt to it: both take turns, on the same images.

After adversarial training (Madry et al., ICLR 2018) with a population of opponents (Tramer et al., ICLR 2018), so that
the head does not only learn what beats the last one: patches of several sizes and strengths, some of which do not know
the defence and some of which descend through it in one way or another. Each step is one step of a few of these rivals,
and one of the head on what they show and on harmless images. A rival that has lived long enough begins anew.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zmask_ros.attacks import EotRanges, paste_at_random, stack_frames
from zmask_ros.attacks.render import View
from zmask_ros.data.textures.benign import harmless_pictures, in_other_light
from zmask_ros.defense import ActivationTaps, Branch, Defense, LayerStatistics, Moments, Profile, bind
from zmask_ros.defense.analyzer import head_features
from zmask_ros.defense.evidence.head import WEIGHTS, EvidenceHead, Head, head_score, untrained_head
from zmask_ros.defense.profile.detector import statistics_key
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.adversaries import KINDS, Kind, Rival
from zmask_ros.training.clean_fit import observe
from zmask_ros.training.plans import kernels_on
from zmask_ros.training.thresholds import opening_at

HARMLESS_SEEN = EotRanges(scale=(0.6, 1.0))
HARMLESS_SHARES = (0.2, 0.3, 0.4, 0.5)
"""Sides of harmless pictures, as shares of the image's height."""
LEARNING_RATE, FINAL_LR, DECAY = 2e-3, 0.05, 1e-3
AVERAGED = 0.99
"""Of the moving average of the weights that is kept: what the last rivals taught must not outweigh all others."""
EVENLY = math.log(2.0)
"""Heat of a cell that is as likely a patch as not."""
BESIDE = 0.25
"""Share of a cell that a patch covers at most where the cell counts as beside it."""
NEAR = 5
"""Cells, odd: width of the window in which a patch is near."""
HARMLESS_PICTURES = 60
"""Of each size."""
HARD_IMAGES = 16
"""Of each kind of harmless images, that come back."""
LEAST_THRESHOLD = 0.02
FRESH = 2
"""Clean frames among the harmless images of a step that were drawn by chance, and not because they are hard."""
MASKED_SHARE = 0.05
"""Share of these above the threshold that rivals see while it moves."""
REMEMBERED = 200
"""Fresh frames that this is counted over."""
AT_ONCE = 2
"""Rivals that take a step for each one of the head: the longer they live, the more there is to learn from them."""
FIRST_SEED = 30_000
"""Of the rivals' seeds, which count up from here."""


@dataclass(frozen=True)
class Look:
    """What a head looks at: windows, as shares of the image's height and width; and whether at energies, too."""

    kernels: tuple[float, ...]
    textured: bool


FULL_LOOK = Look((0.2, 0.07), textured=True)


@dataclass(frozen=True)
class Hardened:
    """What came of it.

    Attributes:
        profile: with the head; its fusion block opens where the head thinks a patch is more likely than not, and its
            threshold is the one that the rivals have seen last.
        patches: the rivals' last ones that were more than noise, each [3, h, w] in 0..1.
        losses: of the head, one for each step in which it learned.
    """

    profile: Profile
    patches: tuple[Tensor, ...]
    losses: tuple[float, ...]


def with_head(
    segmenter: Segmenter,
    profile: Profile,
    layers: tuple[str, ...],
    frames: Sequence[np.ndarray],
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
    look: Look = FULL_LOOK,
) -> Profile:
    """``profile`` with an untrained head for ``layers``, and their clean statistics over ``frames``.

    Its masks grow as they did.
    """
    branch = Branch(layers, kernels_on(profile.grid, look.kernels))
    moments: dict[str, Moments] = {}
    with torch.inference_mode(), ActivationTaps(segmenter.network, layers) as taps:
        for frame in frames:
            segmenter.logits(segmenter.prepare(frame))
            for name in layers:
                found = observe(taps[name], branch.kernels, profile.grid)
                moments[name] = moments[name].merge(found) if name in moments else found
            advance()
    named = {statistics_key("head", name): LayerStatistics(own) for name, own in moments.items()}
    plain = profile.without_head()
    binding = bind(segmenter, (*plain.bound_layers, *layers))
    statistics, fusion = plain.detector.statistics | named, opening_at(EVENLY / 2, EVENLY)
    observed = replace(plain.detector, statistics=statistics, fusion=fusion)
    features = sum(head_features(observed, binding, branch, look.textured).counts)
    head = untrained_head(branch, features, seed, look.textured)
    return replace(plain, binding=binding, detector=replace(observed, head=head))


def harden(
    segmenter: Segmenter,
    profile: Profile,
    frames: Sequence[np.ndarray],
    steps: int,
    seed: int = 0,
    advance: Callable[[float], None] = lambda loss: None,
    kinds: Sequence[Kind] = KINDS,
    masked_share: float = MASKED_SHARE,
) -> Hardened:
    """Train the head of ``profile`` further, an untrained one of `with_head` or one that has met rivals before.

    Args:
        frames: clean ones, uint8 [h, w, 3] at the network's input size; the network's own labels are taken for right.
        steps: of the head; `AT_ONCE` times as many of the rivals together.
        seed: of every random choice.
        advance: called after each step with the head's loss; NaN before it learns.
        kinds: of the rivals, one each.
        masked_share: of the clean frames, above the threshold that the rivals have to stay below.
    """
    # The threshold moves along with the head; what the profile had is worth nothing now.
    profile = replace(profile, detector=replace(profile.detector, precaution=None))
    defense = Defense(segmenter, profile)
    head = _head_of(defense)
    seeds = itertools.count(seed + FIRST_SEED)
    rivals = [Rival.begin(defense, segmenter, kind, number, next(seeds)) for number, kind in enumerate(kinds)]
    trainer = HeadTraining(head, steps)
    harmless = Harmless(segmenter, defense, frames, seed, masked_share)
    stack = stack_frames(segmenter, ((frame, None) for frame in frames))
    ripe: dict[int, Tensor] = {}
    losses = []
    turns = itertools.cycle(range(len(rivals)))
    for _ in range(steps):
        acting = [rivals[number] for number in itertools.islice(turns, AT_ONCE)]
        seen = [(rival, rival.act(stack)) for rival in acting]
        if attacked := [view for rival, view in seen if rival.ripe]:
            heats, scores = harmless.look()
            losses.append(trainer.step(attacked, heats))
            defense.threshold = harmless.remember(scores)
            ripe |= {rival.number: rival.training.patches() for rival in acting if rival.ripe}
        for rival in acting:
            if rival.finished:
                rivals[rival.number] = Rival.begin(defense, segmenter, rival.kind, rival.number, next(seeds))
        advance(losses[-1] if losses else math.nan)
    threshold = replace(profile.detector.threshold, value=defense.threshold)
    detector = replace(profile.detector, head=trainer.averaged(), threshold=threshold)
    return Hardened(
        replace(profile, detector=detector),
        tuple(patch for number in sorted(ripe) for patch in ripe[number]),
        tuple(losses),
    )


def _head_of(defense: Defense) -> EvidenceHead:
    head = defense.analyzer.evidence.head
    assert isinstance(head, EvidenceHead)
    return head


class HeadTraining:
    """The head's side: its optimiser, and the moving average of its weights."""

    def __init__(self, head: EvidenceHead, steps: int) -> None:
        self.head = head
        self.weights = [getattr(head, name) for name in WEIGHTS]
        for weight in self.weights:
            weight.requires_grad_()
        self.optimiser = torch.optim.AdamW(self.weights, lr=LEARNING_RATE, weight_decay=DECAY)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, steps, FINAL_LR * LEARNING_RATE)
        self._average = [weight.detach().clone() for weight in self.weights]

    def step(self, attacked: Sequence[View], harmless: Tensor) -> float:
        """Descend once; the loss."""
        loss = torch.stack([attacked_loss(view) for view in attacked]).mean() + harmless_loss(harmless)
        gradients = torch.autograd.grad(loss, self.weights)
        with torch.no_grad():
            for weight, gradient in zip(self.weights, gradients, strict=True):
                weight.grad = gradient
        self.optimiser.step()
        self.schedule.step()
        with torch.no_grad():
            for average, weight in zip(self._average, self.weights, strict=True):
                average.lerp_(weight, 1 - AVERAGED)
        return float(loss.detach())

    def averaged(self) -> Head:
        """The moving average."""
        return Head(self.head.branch, self.head.textured, *(average.cpu() for average in self._average))


def attacked_loss(view: View) -> Tensor:
    """Cross-entropy of the cells on the patches, of those around them and of all others, and of images; a scalar.

    What is masked around a patch is lost for nothing, and there are few such cells: they are weighed apart.
    """
    assert view.analysis is not None
    heat = view.analysis.evidence.shallow
    share = F.adaptive_avg_pool2d(view.mask.to(heat), (heat.shape[-2], heat.shape[-1]))
    inside, beside = share > 0.5, share < BESIDE
    near = F.max_pool2d(share, NEAR, 1, NEAR // 2) > 0
    on_patch = _mean_of(-_log_chance(heat), inside)
    off_patch = _mean_of(heat, beside & ~near) + _mean_of(heat, beside & near)
    return on_patch - _log_chance(head_score(heat)).mean() + off_patch


def _mean_of(values: Tensor, where: Tensor) -> Tensor:
    """Mean of ``values`` where bool ``where``; 0 where that is nowhere."""
    return (values * where).sum() / where.sum().clamp_min(1)


def harmless_loss(heat: Tensor) -> Tensor:
    """Cross-entropy of all cells [B, 1, h, w], and of whole images by their scores; a scalar."""
    return heat.mean() + head_score(heat).mean()


def _log_chance(heat: Tensor) -> Tensor:
    """Logarithm of the chance of a patch that a heat stands for."""
    return (-torch.expm1(-heat.clamp_min(1e-6))).log()


class HardImages:
    """The worst images of one kind so far."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._worst: list[tuple[float, np.ndarray]] = []

    def draw(self) -> np.ndarray | None:
        """One of them, once there are enough. It is judged anew, and goes if it is harmless to the head by now."""
        if len(self._worst) < HARD_IMAGES - 1:
            return None
        return self._worst.pop(int(self._random.integers(len(self._worst))))[1]

    def add(self, score: float, image: np.ndarray) -> None:
        """Keep the image if it is among the worst."""
        worst = [*self._worst, (score, image)]
        self._worst = sorted(worst, key=lambda entry: entry[0], reverse=True)[:HARD_IMAGES]


class Harmless:
    """Clean frames, also in other light, and harmless pictures in them; the worst of both come back."""

    def __init__(
        self, segmenter: Segmenter, defense: Defense, frames: Sequence[np.ndarray], seed: int, masked_share: float
    ) -> None:
        self._segmenter, self._defense, self._frames = segmenter, defense, frames
        self._masked_share = masked_share
        self._random = np.random.default_rng(seed)
        self._places = torch.Generator().manual_seed(seed)
        sides = [max(16, round(share * segmenter.input_size[0])) for share in HARMLESS_SHARES]
        self._pictures = [p for n in sides for p in harmless_pictures(HARMLESS_PICTURES, (n, n), frames, seed + n)]
        self._hard = (HardImages(self._random), HardImages(self._random))
        self._shown: list[tuple[HardImages, np.ndarray]] = []
        self._scores: list[float] = []

    def look(self) -> tuple[Tensor, Tensor]:
        """Heat [B, 1, h, w] of the next images, differentiable in the head, and the images' scores [B]."""
        self._shown = [
            (hard, image)
            for hard, make in zip(self._hard, (self._frame, self._disguised), strict=True)
            for image in (*(make() for _ in range(FRESH)), hard.draw(), hard.draw())
            if image is not None
        ]
        x = torch.cat([self._segmenter.prepare(image) for _, image in self._shown])
        with self._defense.taps as taps:
            with torch.no_grad():
                self._segmenter.logits(x)
            analysis = self._defense.analyzer(taps)
        return analysis.evidence.shallow, analysis.score.detach()

    def remember(self, scores: Tensor) -> float:
        """Take note of the scores of the images that were looked at last; what rivals are to stay below from now.

        That is what few clean frames exceed, and not what the hardest images do: rivals have to go where a frame is
        not even masked as a precaution.
        """
        self._scores = [*self._scores, *scores[:FRESH].tolist()][-REMEMBERED:]
        for score, (hard, image) in zip(scores.tolist(), self._shown, strict=True):
            hard.add(score, image)
        return max(LEAST_THRESHOLD, float(np.quantile(self._scores, 1 - self._masked_share)))

    def _frame(self) -> np.ndarray:
        frame = self._frames[int(self._random.integers(len(self._frames)))]
        return frame if self._random.random() < 0.7 else in_other_light(frame, self._random)

    def _disguised(self) -> np.ndarray:
        picture = self._pictures[int(self._random.integers(len(self._pictures)))]
        return paste_at_random(self._frame(), picture, HARMLESS_SEEN, self._places)[0]

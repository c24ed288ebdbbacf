"""One attack from noise to finished patches: patches that spoil the segmentation of every frame they appear in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from zmask_ros.attacks.attacker import Attacker, Step
from zmask_ros.attacks.checkpoint import AttackState
from zmask_ros.attacks.eot import Transforms, sample_layout
from zmask_ros.attacks.frames import AttackFrame, FrameStack, stack_frames
from zmask_ros.attacks.recipe import HIDING, Recipe
from zmask_ros.attacks.render import AttackedView
from zmask_ros.defense import Profile
from zmask_ros.errors import AttackError
from zmask_ros.segmenters import Segmenter

SAVED_EVERY = 20
"""Steps between two states on disk."""
EVALUATED = 12
"""Frames that the patches of a finished run are judged on."""
EVALUATION_STREAM = 2**40
"""Added to the seed where patches are judged: on views that none was trained on."""


class Placement(Protocol):
    """Decides where a patch is seen in the frames that it is optimized over, instead of a draw from ranges."""

    def place(
        self, transforms: Transforms, chosen: Tensor, image_size: tuple[int, int], patch_size: tuple[int, int]
    ) -> Transforms:
        """Move ``transforms``, whose light and noise stay, to the places of the frames ``chosen``.

        Args:
            transforms: of B images, drawn from the recipe's ranges.
            chosen: int64 [B], indices of the frames in the order in which they were given.
            image_size: (height, width) in pixels.
            patch_size: (height, width) in patch pixels.
        """


@dataclass(frozen=True)
class TransformSampler:
    """Draws how the patches of a recipe are seen; sizes are (height, width) in pixels."""

    recipe: Recipe
    image_size: tuple[int, int]
    placement: Placement | None = None

    def __call__(self, chosen: Tensor, generator: torch.Generator) -> tuple[Transforms, ...]:
        """One `Transforms` for each patch, of the B frames ``chosen``: int64 [B], their indices."""
        recipe = self.recipe
        layout = sample_layout(recipe.eot, recipe.patches, len(chosen), recipe.size, self.image_size, generator)
        if self.placement is None:
            return layout
        return tuple(self.placement.place(drawn, chosen, self.image_size, recipe.size) for drawn in layout)


@dataclass(frozen=True)
class PatchResult:
    """Finished patches.

    Attributes:
        patches: float [N, 3, h, w] in 0..1 on the CPU, the adversarial ones first, then the decoys.
        history: all steps in order, of all restarts.
        merits: of each restart, the share of attacked pixels won on the evaluation frames, 0..1.
        shape: float [h, w] in 0..1, how much each pixel hides; None: rectangles.
    """

    patches: Tensor
    history: tuple[Step, ...]
    merits: tuple[float, ...] = ()
    shape: Tensor | None = None

    @property
    def patch(self) -> Tensor:
        """The first patch, float [3, h, w] in 0..1."""
        return self.patches[0]

    @staticmethod
    def joined(runs: Sequence[PatchResult]) -> PatchResult:
        """The result of an attack whose runs, one each, were done apart; they are given in order."""
        best = max(runs, key=lambda run: run.merits[0])
        history = tuple(step for run in runs for step in run.history)
        return replace(best, history=history, merits=tuple(run.merits[0] for run in runs))


def train_patch(
    segmenter: Segmenter,
    frames: Iterable[AttackFrame],
    recipe: Recipe,
    progress: Callable[[Step], None] = lambda step: None,
    profile: Profile | None = None,
    state: Path | None = None,
    placement: Placement | None = None,
    start: Tensor | None = None,
    runs: range | None = None,
) -> PatchResult:
    """Optimize patches by ``recipe`` over ``frames``.

    Args:
        segmenter: the attacked network.
        frames: images with their labels.
        recipe: of the attack.
        progress: called after each step.
        profile: of the defense, for attackers who know it.
        state: file that the state is kept in while it runs; where there is one already, it goes on from there and
            ends with the same patches as if it had never stopped. The caller deletes it.
        placement: where the patch is seen; None draws that from the recipe's ranges, as all the rest.
        start: patches [N, 3, h, w] in 0..1 that the first run begins with; None, and all further runs: noise.
        runs: which of the recipe's restarts are done; None: all. `PatchResult.joined` puts results together.

    Raises:
        AttackError: there are no frames, labels do not belong to the segmenter's classes, the recipe needs a profile
            and there is none, ``state`` or ``start`` belong to something else, or there are several patches for one
            placement.
    """
    if placement is not None and recipe.patches > 1:
        raise AttackError("A scene has one place for a patch: set patches to 1.")
    # One that the attacker does not know has no say in the patch, nor in what its state belongs to.
    profile = profile if recipe.knows_the_defense else None
    attacker = Attacker.prepare(segmenter, recipe, profile)
    stack = stack_frames(segmenter, frames)
    if recipe.objective == HIDING and attacker.goal.target is not None:
        stack = stack.showing(attacker.goal.target)
    stack = attacker.evadable(stack)
    sampler = TransformSampler(recipe, segmenter.input_size, placement)
    belongs_to = _digests(attacker, profile, stack, start)
    device, runs = segmenter.device, runs or range(recipe.restarts)
    if state is not None and state.exists():
        attack = AttackState.resume(state, recipe, device, belongs_to)
    else:
        attack = AttackState.start(recipe, device, runs[0])
        if start is not None and attack.restart == 0:
            attack.begin_with(start)
    while True:
        while attack.index < recipe.steps:
            make_step(attacker, stack, attack, sampler)
            if state is not None and len(attack.history) % SAVED_EVERY == 0:
                attack.save(state, belongs_to)
            progress(attack.history[-1])
        attack.finish(_merit(attacker, stack, attack, sampler))
        if attack.restart == runs[-1]:
            break
        attack = attack.restarted(device)
    assert attack.best is not None
    shape = attacker.renderer.shape
    return PatchResult(attack.best, tuple(attack.history), tuple(attack.merits), None if shape is None else shape.cpu())


def unjudged_patches(
    segmenter: Segmenter,
    recipe: Recipe,
    frames: Iterable[AttackFrame],
    progress: Callable[[], None],
    profile: Profile | None = None,
) -> Tensor:
    """The patches of one run of ``recipe`` from noise, float [N, 3, h, w] in 0..1.

    Unlike those of `train_patch` they are not judged in the end, which takes more memory. For what is raised see there.

    Args:
        segmenter: the attacked network.
        recipe: of the attack.
        frames: images with their labels.
        progress: called after each step.
        profile: of the defense, for attackers who know it.
    """
    attacker = Attacker.prepare(segmenter, recipe, profile)
    stack = attacker.evadable(stack_frames(segmenter, frames))
    attack, draw = AttackState.start(recipe, segmenter.device), TransformSampler(recipe, segmenter.input_size)
    for _ in range(recipe.steps):
        make_step(attacker, stack, attack, draw)
        progress()
    return attack.patches()


def make_step(attacker: Attacker, stack: FrameStack, attack: AttackState, sampler: TransformSampler) -> AttackedView:
    """Take one step of the attack on a random batch; returns what its images looked like before the step."""
    chosen = torch.randint(len(stack), (attack.recipe.batch,), generator=attack.generator)
    images, labels = stack.batch(chosen, attacker.renderer.segmenter.device)
    layout = sampler(stack.numbers[chosen], attack.generator)
    view = attacker.renderer.render(images, torch.cat(attack.leaves), layout)
    number = attack.restart * attack.recipe.steps + attack.index
    attack.descend(*attacker.directions(view, labels, attack.leaves, number, attack.balance))
    return view


def profile_digest(profile: Profile) -> str:
    """SHA-256 of all of a profile that decides how an attack on it turns out, hexadecimal."""
    detector = profile.detector
    moments = [statistics.moments for _, statistics in sorted(detector.statistics.items())]
    thresholds = torch.tensor([detector.threshold.value, detector.masking_threshold], dtype=torch.float64)
    growth = torch.tensor(list(repr(detector.growth).encode()), dtype=torch.uint8)
    head = () if detector.head is None else detector.head.tensors.values()
    screen = "" if profile.screen is None else profile_digest(profile.of_screen())
    parts = [detector.fusion, thresholds, growth, *head, *(m.mean for m in moments), *(m.m2 for m in moments)]
    return _digest([*parts, *([torch.tensor(list(screen.encode()), dtype=torch.uint8)] if screen else [])])


def _merit(attacker: Attacker, stack: FrameStack, attack: AttackState, sampler: TransformSampler) -> float:
    """Share of the attacked pixels that the run's patches win on frames spread over the stack, 0..1."""
    chosen = torch.linspace(0, len(stack) - 1, EVALUATED).round().long()
    generator = torch.Generator().manual_seed(attack.recipe.seed + EVALUATION_STREAM)
    device = attacker.renderer.segmenter.device
    layout = sampler(stack.numbers[chosen], generator)
    return attacker.merit(stack.batch(chosen, device), attack.patches().to(device), layout)


def _digests(attacker: Attacker, profile: Profile | None, stack: FrameStack, start: Tensor | None) -> dict[str, str]:
    """What a kept state belongs to, by words that a sentence can use."""
    return {
        "recipe": attacker.recipe.to_json(),
        "network": attacker.renderer.segmenter.digest,
        "set of frames": stack.digest(),
        "shape": _digest([attacker.renderer.shape]),
        "palette": _digest([attacker.palette]),
        "profile": "none" if profile is None else profile_digest(profile),
        "start": _digest([start]),
    }


def _digest(tensors: Sequence[Tensor | None]) -> str:
    """SHA-256 of the tensors' bytes, hexadecimal."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(b"none" if tensor is None else tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

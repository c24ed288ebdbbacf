"""Optimise patches that spoil the segmentation of every frame they appear in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from zmask_ros.attacks.attacker import Attacker, Step
from zmask_ros.attacks.checkpoint import Training
from zmask_ros.attacks.eot import Transforms, sample_layout
from zmask_ros.attacks.frames import AttackFrame, FrameStack, stack_frames
from zmask_ros.attacks.recipe import HIDING, Recipe
from zmask_ros.attacks.render import View
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
    """Decides where a patch is seen in the frames that it is optimised over, instead of a draw from ranges."""

    def place(
        self, transforms: Transforms, chosen: Tensor, image_size: tuple[int, int], patch_size: tuple[int, int]
    ) -> Transforms:
        """``transforms`` with their light and noise, at the places of the frames ``chosen``: int64 [B], as given."""


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
        """The first patch, float [3, h, w]."""
        return self.patches[0]


def train_patch(
    segmenter: Segmenter,
    frames: Iterable[AttackFrame],
    recipe: Recipe,
    progress: Callable[[Step], None] = lambda step: None,
    profile: Profile | None = None,
    state: Path | None = None,
    placement: Placement | None = None,
    start: Tensor | None = None,
) -> PatchResult:
    """Optimise patches by ``recipe`` over ``frames``.

    Args:
        progress: called after each step.
        profile: of the defence, for attackers who know it.
        state: file that the state is kept in while it runs; where there is one already, it goes on from there and
            ends with the same patches as if it had never stopped. The caller deletes it.
        placement: where the patch is seen; None draws that from the recipe's ranges, as all the rest.
        start: patches [N, 3, h, w] in 0..1 that the first run begins with; None, and all further runs: noise.

    Raises:
        AttackError: there are no frames, labels do not belong to the segmenter's classes, the recipe needs a profile
            and there is none, ``state`` or ``start`` belong to something else, or there are several patches for one
            placement.
    """
    if placement is not None and recipe.patches > 1:
        raise AttackError("A scene has one place for a patch: set patches to 1.")
    attacker = Attacker.prepare(segmenter, recipe, profile)
    stack = stack_frames(segmenter, frames)
    if recipe.objective == HIDING and attacker.goal.target is not None:
        stack = stack.showing(attacker.goal.target)
    draw = Draw(recipe, segmenter.input_size, placement)
    belongs_to = _belongings(attacker, profile, stack, start)
    device = segmenter.device
    if state is not None and state.exists():
        training = Training.resume(state, recipe, device, belongs_to)
    else:
        training = Training.start(recipe, device)
        if start is not None:
            training.begin_with(start)
    while True:
        while training.index < recipe.steps:
            make_step(attacker, stack, training, draw)
            if state is not None and len(training.history) % SAVED_EVERY == 0:
                training.save(state, belongs_to)
            progress(training.history[-1])
        training.finish(_merit(attacker, stack, training, draw))
        if len(training.merits) == recipe.restarts:
            break
        training = training.restarted(device)
    assert training.best is not None
    shape = attacker.viewer.shape
    return PatchResult(
        training.best, tuple(training.history), tuple(training.merits), None if shape is None else shape.cpu()
    )


def make_step(attacker: Attacker, stack: FrameStack, training: Training, draw: Draw) -> View:
    """One step of the attack on a random batch; what its images looked like before it."""
    chosen = torch.randint(len(stack), (training.recipe.batch,), generator=training.generator)
    images, labels = stack.batch(chosen, attacker.viewer.segmenter.device)
    view = attacker.look(images, training.leaves, draw(stack.numbers[chosen], training.generator))
    found = attacker.directions(view, labels, training.leaves, len(training.history))
    training.descend((found.adversarial, found.decoys), found.step)
    return view


def _merit(attacker: Attacker, stack: FrameStack, training: Training, draw: Draw) -> float:
    chosen = torch.linspace(0, len(stack) - 1, EVALUATED).round().long()
    generator = torch.Generator().manual_seed(training.recipe.seed + EVALUATION_STREAM)
    device = attacker.viewer.segmenter.device
    layout = draw(stack.numbers[chosen], generator)
    return attacker.merit(stack.batch(chosen, device), training.patches().to(device), layout)


@dataclass(frozen=True)
class Draw:
    """How the patches are seen in chosen frames (indices [B]): one `Transforms` for each patch."""

    recipe: Recipe
    image_size: tuple[int, int]
    placement: Placement | None = None

    def __call__(self, chosen: Tensor, generator: torch.Generator) -> tuple[Transforms, ...]:
        recipe = self.recipe
        layout = sample_layout(recipe.eot, recipe.patches, len(chosen), recipe.size, self.image_size, generator)
        if self.placement is None:
            return layout
        return tuple(self.placement.place(drawn, chosen, self.image_size, recipe.size) for drawn in layout)


def _belongings(attacker: Attacker, profile: Profile | None, stack: FrameStack, start: Tensor | None) -> dict[str, str]:
    """What a kept state belongs to, by words that a sentence can use."""
    return {
        "recipe": attacker.recipe.to_json(),
        "network": attacker.viewer.segmenter.digest,
        "set of frames": stack.digest(),
        "shape": _digest([attacker.viewer.shape]),
        "palette": _digest([attacker.palette]),
        "profile": "none" if profile is None else _profile_digest(profile),
        "start": _digest([start]),
    }


def _profile_digest(profile: Profile) -> str:
    detector = profile.detector
    moments = [statistics.moments for _, statistics in sorted(detector.statistics.items())]
    thresholds = torch.tensor([detector.threshold.value, detector.masking_threshold], dtype=torch.float64)
    growth = torch.tensor(list(repr(detector.growth).encode()), dtype=torch.uint8)
    head = () if detector.head is None else detector.head.tensors.values()
    return _digest([detector.fusion, thresholds, growth, *head, *(m.mean for m in moments), *(m.m2 for m in moments)])


def _digest(tensors: Sequence[Tensor | None]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(b"none" if tensor is None else tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

"""Attacks that go on until more steps no longer change what they do.

Each rung of the ladder begins with the patches of the rung before and takes as many steps as all before it together,
so that every rung doubles the steps. The outcome is judged on frames that the patches were not optimized over, by what
counts for the attacker: the damage that is left after the defense, and the frames in which it is flagged. An attack has
converged when a doubling changes neither by as much as `TOLERANCE`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import Tensor

from zmask_ros.attacks.attacker import Attacker, Step
from zmask_ros.attacks.files import pack_result, unpack_result
from zmask_ros.attacks.frames import AttackFrame, stack_frames
from zmask_ros.attacks.patch_attack import EVALUATION_STREAM, PatchResult, Placement, TransformSampler, train_patch
from zmask_ros.attacks.recipe import Recipe
from zmask_ros.defense import Defense, Profile
from zmask_ros.errors import AttackError
from zmask_ros.io.files import make_folder, replace_file
from zmask_ros.segmenters import Segmenter

TOLERANCE = 0.05
"""Change below which a doubling changed nothing: of the damage, relative; of the share of flagged frames, absolute."""
NEGLIGIBLE_DAMAGE = 0.01
"""Share of the pixels below which a change of damage is not measured against the damage itself, but against this."""
HELD_OUT_EVERY = 5
"""One frame of so many is judged on and not learned from, where there are no others to judge on."""
JUDGED_AT_ONCE = 4
"""Images in one batch where an outcome is judged."""


@dataclass(frozen=True)
class Outcome:
    """What patches do on frames that they were not optimized over.

    Attributes:
        damage: what the defended segmentation loses outside of the patches, 0..1; negative where it gains.
        flagged: share of the frames that are flagged, 0..1; 0 where there is no defense.
        masked: share of the frames that are masked, 0..1; 0 likewise.
    """

    damage: float
    flagged: float = 0.0
    masked: float = 0.0

    def change_from(self, before: Outcome) -> float:
        """The larger of the change of damage, relative, and of the share of flagged frames, absolute."""
        scale = max(abs(before.damage), abs(self.damage), NEGLIGIBLE_DAMAGE)
        return max(abs(self.damage - before.damage) / scale, abs(self.flagged - before.flagged))


@dataclass(frozen=True)
class Rung:
    """An attack after so many steps, all rungs before it counted, and its outcome."""

    steps: int
    outcome: Outcome


@dataclass(frozen=True)
class Ladder:
    """The course of an attack whose steps were doubled.

    Attributes:
        rungs: in order, at least one.
        result: of the rung that does the most damage under the defense.
    """

    rungs: tuple[Rung, ...]
    result: PatchResult

    @property
    def change(self) -> float | None:
        """What the last doubling changed, see `Outcome.change_from`; None where there was none."""
        return _last_change(self.rungs)

    @property
    def converged(self) -> bool:
        """Whether the last doubling changed less than `TOLERANCE`."""
        return _converged(self.rungs)

    @property
    def strongest(self) -> Rung:
        """The rung whose patches are the result."""
        return max(self.rungs, key=lambda rung: rung.outcome.damage)


RUNGS = TypeAdapter(tuple[Rung, ...])
"""The rungs of a ladder as JSON."""


Judge = Callable[[Tensor], Outcome]
"""What patches [N, 3, h, w] in 0..1 do."""


Train = Callable[[Recipe, Tensor | None, Path], PatchResult]
"""Trains patches by a recipe, from a start or (None) from noise; the file holds the state while it runs."""


def climb(train: Train, judge: Judge, recipe: Recipe, most: int, folder: Path, start: Tensor | None = None) -> Ladder:
    """Double the steps of an attack until its outcome stays.

    Args:
        train: does a rung.
        judge: says what its patches do.
        recipe: of the attack; the first rung has its steps.
        most: steps of all rungs together after which no further one is begun, even where the outcome still changes.
        folder: finished rungs are kept here, and what is there is not done again; made where it does not exist.
        start: patches that the first rung begins with; None: noise.

    Raises:
        AttackError: the folder holds the rungs of another recipe.
    """
    make_folder(folder)
    rungs: list[Rung] = []
    results: list[PatchResult] = []
    while not rungs or (not _converged(rungs) and 2 * rungs[-1].steps <= most):
        done = rungs[-1].steps if rungs else 0
        own = replace(recipe, steps=done or recipe.steps, seed=recipe.seed + len(rungs))
        place = folder / f"rung_{len(rungs)}.safetensors"
        kept = _read(place, own)
        if kept is None:
            state = place.with_suffix(".state")
            result = train(own, results[-1].patches if results else start, state)
            kept = result, judge(result.patches)
            _write(place, own, *kept)
            state.unlink(missing_ok=True)
        results.append(kept[0])
        rungs.append(Rung(done + own.steps, kept[1]))
    best = max(range(len(rungs)), key=lambda n: rungs[n].outcome.damage)
    history = tuple(step for result in results for step in result.history)
    return Ladder(tuple(rungs), replace(results[best], history=history))


def parted(frames: Sequence[AttackFrame]) -> tuple[Sequence[AttackFrame], Sequence[AttackFrame]]:
    """Frames to learn from and frames to judge on; a frame alone is judged by other views of it."""
    learned = [frame for number, frame in enumerate(frames) if number % HELD_OUT_EVERY]
    return learned or frames, frames[::HELD_OUT_EVERY]


def train_until_converged(
    segmenter: Segmenter,
    frames: Iterable[AttackFrame],
    held_out: Iterable[AttackFrame],
    recipe: Recipe,
    most: int,
    folder: Path,
    profile: Profile | None = None,
    progress: Callable[[Step], None] = lambda step: None,
    placement: Placement | None = None,
) -> Ladder:
    """`climb` over ``frames``, judged on ``held_out``; for the other arguments see `train_patch` and `climb`."""
    learned = list(frames)

    def train(own: Recipe, start: Tensor | None, state: Path) -> PatchResult:
        return train_patch(segmenter, learned, own, progress, profile, state, placement, start)

    return climb(train, HeldOut(segmenter, held_out, recipe, profile), recipe, most, folder)


class HeldOut:
    """A `Judge`: pixels lost in frames that no patch was optimized over, each with views of its own.

    Args:
        segmenter: the attacked network.
        frames: to judge on.
        recipe: how the patches are seen, and what is attacked.
        profile: of the defense; None: the network has none.

    Raises:
        AttackError: there are no frames.
    """

    def __init__(
        self, segmenter: Segmenter, frames: Iterable[AttackFrame], recipe: Recipe, profile: Profile | None = None
    ) -> None:
        self._stack = stack_frames(segmenter, frames)
        self._segmenter, self._recipe = segmenter, recipe
        defense = None if profile is None else Defense(segmenter, profile)
        self._attacker = Attacker.against(segmenter, recipe, defense)

    @torch.no_grad()
    def __call__(self, patches: Tensor) -> Outcome:
        """What the patches do."""
        generator = torch.Generator().manual_seed(self._recipe.seed + EVALUATION_STREAM)
        sampler = TransformSampler(self._recipe, self._segmenter.input_size)
        device = self._segmenter.device
        lost = counted = flagged = masked = 0.0
        for chosen in torch.arange(len(self._stack)).split(JUDGED_AT_ONCE):
            images, labels = self._stack.batch(chosen, device)
            layout = sampler(chosen, generator)
            view = self._attacker.renderer.render(images, patches.to(device), layout)
            clean = self._segmenter.logits(self._segmenter.normalize(images))
            final = self._attacker.renderer.final_logits(view)
            before, after = (self._attacker.goal.losses(logits, labels, view.mask) for logits in (clean, final))
            lost += float(before.resisting.sum() - after.resisting.sum())
            counted += float(after.counted.sum())
            if view.analysis is not None and self._attacker.renderer.defense is not None:
                thresholds = self._attacker.renderer.defense.thresholds
                flagged += float((view.analysis.score > thresholds.attack).sum())
                masked += float((view.analysis.score > thresholds.masking).sum())
        return Outcome(lost / max(counted, 1.0), flagged / len(self._stack), masked / len(self._stack))


def _last_change(rungs: Sequence[Rung]) -> float | None:
    return None if len(rungs) < 2 else rungs[-1].outcome.change_from(rungs[-2].outcome)


def _converged(rungs: Sequence[Rung]) -> bool:
    change = _last_change(rungs)
    return change is not None and change < TOLERANCE


def _write(place: Path, recipe: Recipe, result: PatchResult, outcome: Outcome) -> None:
    replace_file(place, pack_result(result))
    record = {"recipe": recipe.entries(), "outcome": asdict(outcome)}
    replace_file(place.with_suffix(".json"), json.dumps(record, indent=1).encode())


def _read(place: Path, recipe: Recipe) -> tuple[PatchResult, Outcome] | None:
    """The finished rung in a file and its outcome; None where there is none."""
    try:
        record = json.loads(place.with_suffix(".json").read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise AttackError(f"The rung {place} of an attack cannot be read: delete it.") from error
    if Recipe.from_json(json.dumps(record["recipe"])) != recipe:
        raise AttackError(f"{place} was made by another recipe: go on with the same, or delete the folder.")
    return unpack_result(place), Outcome(**record["outcome"])

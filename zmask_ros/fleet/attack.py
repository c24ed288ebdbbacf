"""`zmask attack` on many machines: an attacker, which is one run of one patch, is the unit of work."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zmask_ros.attacks import AttackFrame, PatchResult, Placement, Recipe, Step, train_patch
from zmask_ros.attacks.files import pack_result, unpack_result
from zmask_ros.attacks.frames import NothingToHideError
from zmask_ros.attacks.patch_attack import profile_digest
from zmask_ros.defense import Profile
from zmask_ros.errors import ZmaskError
from zmask_ros.fleet.network import NamedNetwork, recipe_anywhere
from zmask_ros.fleet.pool import PoolSettings, Pulse, RayPool, Run
from zmask_ros.fleet.results import ResultFolder
from zmask_ros.fleet.tally import FleetTally, Skipped
from zmask_ros.progress import Progress, silent


@dataclass(frozen=True)
class AttackTask:
    """One run of a patch.

    Attributes:
        frame: number of the frame that the patch is for; None: it is for all.
        run: number of the restart.
    """

    frame: int | None
    run: int


@dataclass(frozen=True)
class AttackWork:
    """What a worker needs to attack.

    Attributes:
        network: that is attacked.
        recipe: of the attack.
        profile: of the defense, where the attacker knows it.
        frames: that the patches are optimized over.
        placement: see `train_patch`.
    """

    network: NamedNetwork
    recipe: Recipe
    profile: Profile | None
    frames: Sequence[AttackFrame]
    placement: Placement | None = None

    def __call__(self) -> Run:
        """Load the network; what is returned does a run: a file of `pack_result`, empty if there is nothing to hide."""
        segmenter, recipe = self.network.load(), recipe_anywhere(self.recipe)

        def run(task: AttackTask, pulse: Pulse) -> bytes:
            def show(step: Step) -> None:
                pulse.frame()

            frames = self.frames if task.frame is None else [self.frames[task.frame]]
            own = range(task.run, task.run + 1)
            try:
                result = train_patch(segmenter, frames, recipe, show, self.profile, placement=self.placement, runs=own)
            except NothingToHideError:
                if task.frame is None:
                    raise
                return b""
            return pack_result(result)

        return run


Take = Callable[[int | None, PatchResult | None], None]
"""Takes the patches for a frame, or for all; None: the frame does not show what is to be hidden."""


def attack_fleet(
    work: AttackWork,
    per_image: bool,
    pool_settings: PoolSettings,
    results: Path,
    take: Take,
    progress: Progress = silent,
) -> FleetTally:
    """Optimize patches on the workers of a Ray cluster: those that `train_patch` makes.

    Args:
        work: what is done.
        per_image: each frame has a patch of its own.
        pool_settings: who works.
        results: where the results of runs are kept until the patches are there.
        take: is handed the patches as they come.
        progress: shows how far it is.

    Raises:
        ZmaskError: there is no patch, or the workers cannot work.
    """
    recipe, kept = work.recipe, ResultFolder(results, _identity(work))
    frames: list[int | None] = list(range(len(work.frames))) if per_image else [None]
    left = {frame: {AttackTask(frame, run) for run in range(recipe.restarts)} for frame in frames}
    skipped: dict[int | None, str] = {}
    tasks = deque(task for own in left.values() for task in sorted(own, key=lambda task: task.run))

    def is_kept(task: AttackTask) -> bool:
        return kept.place(task.frame, task.run).exists()

    def note_done(task: AttackTask) -> None:
        """A run is done; after the last one of a patch, the patch is handed over."""
        left[task.frame].discard(task)
        if not left[task.frame]:
            places = [kept.place(task.frame, run) for run in range(recipe.restarts)]
            nothing = any(place.stat().st_size == 0 for place in places)
            take(task.frame, None if nothing else PatchResult.joined([unpack_result(place) for place in places]))

    total, steps = len(tasks) * recipe.steps, 0
    with RayPool(work, pool_settings) as pool, progress(pool.titled("Attacking"), "steps", total) as advance:
        for task in [task for task in tasks if is_kept(task)]:
            tasks.remove(task)
            advance(recipe.steps)
            note_done(task)
        for done in pool.run(tasks):
            steps += recipe.steps
            if done.refusal:
                skipped.setdefault(done.task.frame, done.refusal)
            else:
                kept.keep(kept.place(done.task.frame, done.task.run), done.result)
                note_done(done.task)
            advance(recipe.steps, pool.remark(steps, len(skipped), "steps"))
    if len(skipped) == len(frames):
        raise ZmaskError(skipped[frames[0]])
    reasons = tuple(Skipped(f"frame {frame}", reason) for frame, reason in sorted(skipped.items(), key=str))
    return FleetTally(pool.workers, pool.retried, reasons)


def _identity(work: AttackWork) -> str:
    """What the results of runs depend on."""
    digest = hashlib.sha256()
    for image, labels in work.frames:
        digest.update(repr(image.shape).encode() + image.tobytes() + (b"" if labels is None else labels.tobytes()))
    for name in (work.recipe.shape, work.recipe.palette):
        digest.update(b"" if name is None or not Path(name).exists() else Path(name).read_bytes())
    profile = None if work.profile is None else profile_digest(work.profile)
    entries = [work.network.digest, work.recipe.entries(), profile, digest.hexdigest()]
    return hashlib.sha256(json.dumps(entries, default=str).encode()).hexdigest()

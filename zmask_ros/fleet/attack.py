"""`zmask attack` on many machines: one run of one patch, or one attacker of a strength, is the unit of work."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from zmask_ros.attacks import AttackFrame, PatchResult, Placement, Recipe, Step, train_patch
from zmask_ros.attacks.convergence import RUNGS, Ladder, parted, train_until_converged
from zmask_ros.attacks.files import pack_result, unpack_result
from zmask_ros.attacks.frames import NothingToHideError
from zmask_ros.attacks.patch_attack import profile_digest
from zmask_ros.attacks.strength import QUICK, STRENGTHS, Strength, recipes
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
        run: number of the restart, or of the attacker of a strength.
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
        effort: which attackers there are, and how long they go on.
    """

    network: NamedNetwork
    recipe: Recipe
    profile: Profile | None
    frames: Sequence[AttackFrame]
    placement: Placement | None = None
    effort: Strength = STRENGTHS[QUICK]

    @property
    def runs(self) -> int:
        """Of each patch."""
        return len(self.effort.attackers) or self.recipe.restarts

    @property
    def steps(self) -> int:
        """Of a run, at most."""
        return self.effort.most_steps(self.recipe)

    def __call__(self) -> Run:
        """Load the network; what is returned does a run, and gives a `RunFile`, empty if there is nothing to hide."""
        segmenter, recipe = self.network.load(), recipe_anywhere(self.recipe)

        def run(task: AttackTask, pulse: Pulse) -> RunFile:
            def show(step: Step) -> None:
                pulse.frame()

            frames = self.frames if task.frame is None else [self.frames[task.frame]]
            try:
                if self.effort.attackers:
                    return ladder(list(recipes(self.effort, recipe).values())[task.run], frames, show)
                own = range(task.run, task.run + 1)
                result = train_patch(segmenter, frames, recipe, show, self.profile, placement=self.placement, runs=own)
            except NothingToHideError:
                if task.frame is None:
                    raise
                return RunFile()
            return RunFile(pack_result(result))

        def ladder(own: Recipe, frames: Sequence[AttackFrame], show: Callable[[Step], None]) -> RunFile:
            learned, judged = parted(frames)
            profile = self.profile if recipe.knows_the_defense else None
            with TemporaryDirectory() as folder:
                place = Path(folder)
                climbed = train_until_converged(segmenter, learned, judged, own, self.steps, place, profile, show)
            return RunFile(pack_result(climbed.result), RUNGS.dump_json(climbed.rungs))

        return run


@dataclass(frozen=True)
class RunFile:
    """What a run came to: a file of `pack_result`, and the rungs of an attacker of a strength as JSON."""

    result: bytes = b""
    rungs: bytes = b""


Made = PatchResult | dict[str, Ladder]
"""Patches, the best of all runs; or what each attacker of a strength came to, by its name."""
Take = Callable[[int | None, Made | None], None]
"""Takes what was made for a frame, or for all; None: the frame does not show what is to be hidden."""


@dataclass(frozen=True)
class _KeptRuns:
    """The runs of some work that are done, in a folder."""

    folder: ResultFolder
    work: AttackWork

    def has(self, task: AttackTask) -> bool:
        return self._result(task.frame, task.run).exists()

    def keep(self, task: AttackTask, run: RunFile) -> None:
        if run.rungs:
            # Before the result, which says that both are there.
            self.folder.keep(self._rungs(task.frame, task.run), run.rungs)
        self.folder.keep(self._result(task.frame, task.run), run.result)

    def made(self, frame: int | None) -> Made | None:
        """What all runs for a frame, or for all frames, came to; None: there is nothing to hide."""
        places = [self._result(frame, run) for run in range(self.work.runs)]
        if any(place.stat().st_size == 0 for place in places):
            return None
        results = [unpack_result(place) for place in places]
        names = self.work.effort.attackers
        if not names:
            return PatchResult.joined(results)
        rungs = [RUNGS.validate_json(self._rungs(frame, run).read_bytes()) for run in range(len(names))]
        return dict(zip(names, map(Ladder, rungs, results), strict=True))

    def _result(self, frame: int | None, run: int) -> Path:
        return self.folder.place(frame, run)

    def _rungs(self, frame: int | None, run: int) -> Path:
        return self.folder.place(frame, run, "rungs")


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
    kept = _KeptRuns(ResultFolder(results, _identity(work)), work)
    frames: list[int | None] = list(range(len(work.frames))) if per_image else [None]
    left = {frame: {AttackTask(frame, run) for run in range(work.runs)} for frame in frames}
    skipped: dict[int | None, str] = {}
    tasks = deque(task for own in left.values() for task in sorted(own, key=lambda task: task.run))

    def note_done(task: AttackTask) -> None:
        """A run is done; after the last one of a patch, the patch is handed over."""
        left[task.frame].discard(task)
        if not left[task.frame]:
            take(task.frame, kept.made(task.frame))

    total, steps = len(tasks) * work.steps, 0
    with RayPool(work, pool_settings) as pool, progress(pool.titled("Attacking"), "steps", total) as advance:
        for task in [task for task in tasks if kept.has(task)]:
            tasks.remove(task)
            advance(work.steps)
            note_done(task)
        for done in pool.run(tasks):
            steps += work.steps
            if done.refusal:
                skipped.setdefault(done.task.frame, done.refusal)
            else:
                kept.keep(done.task, done.result)
                note_done(done.task)
            advance(work.steps, pool.remark(steps, len(skipped), "steps"))
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
    entries = [work.network.digest, work.recipe.entries(), profile, digest.hexdigest(), asdict(work.effort)]
    return hashlib.sha256(json.dumps(entries, default=str).encode()).hexdigest()

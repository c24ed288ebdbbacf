"""Runs a plan: trains its patches, records every frame, keeps each result, and resumes after an interruption."""

from __future__ import annotations

import timeit
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zmask_ros import __version__
from zmask_ros.attacks import PatchResult, Recipe, Step, load_patches, save_patch
from zmask_ros.evaluation.baselines.interface import segment
from zmask_ros.evaluation.baselines.registry import COMPARED
from zmask_ros.evaluation.metrics.records import RecordSet
from zmask_ros.evaluation.protocol import jobs
from zmask_ros.evaluation.protocol.evaluators import CLEAN, NONE, ORACLE, NamedProfile
from zmask_ros.evaluation.protocol.frames import Parts
from zmask_ros.evaluation.protocol.plan import Attack, EvaluationPlan
from zmask_ros.evaluation.protocol.workbench import Outcome, Piece, Workbench
from zmask_ros.io.files import make_folder
from zmask_ros.progress import Advance, Progress, silent
from zmask_ros.segmenters import Segmenter

PASSES = {CLEAN: 0.1, NONE: 1.0, ORACLE: 1.1} | {name: entry.passes for name, entry in COMPARED.items()}
OUR_PASSES = 2.3
"""What a frame costs at most, in passes of the plain network: for estimates of time."""


@dataclass(frozen=True)
class Kind:
    """What the time of a training step depends on.

    Attributes:
        knows_the_defense: Whether it goes through the defense.
        patches: Their number.
        one_pass, folded: Whether it differentiates its terms together, and folds batch normalization.
    """

    knows_the_defense: bool
    patches: int
    one_pass: bool
    folded: bool


@dataclass(frozen=True)
class Pace:
    """The speed of a machine, in seconds.

    Attributes:
        frame: Making one test frame and recording its result.
        network: One pass of the plain network.
        steps: One training step, by `kind_of` its recipe.
    """

    frame: float
    network: float
    steps: dict[Kind, float]

    def seconds(self, job: jobs.TrainingJob | jobs.EvaluationJob) -> float:
        """One step of a job: a training step, or a frame under its evaluator."""
        if isinstance(job, jobs.TrainingJob):
            return self.steps.get(kind_of(job.recipe), 0.0)
        return self.frame + PASSES.get(job.evaluator, OUR_PASSES) * self.network


def kind_of(recipe: Recipe) -> Kind:
    """What the time of a training step depends on."""
    return Kind(recipe.knows_the_defense, recipe.patches, recipe.lengths_every > 1, recipe.folded)


@dataclass(frozen=True)
class Results:
    """All that was measured.

    Attributes:
        records: By (set of frames, evaluator); sets are "clean", "attack NAME" and "hard NAME".
        patches: Of every attack, uint8 [N, h, w, 3 or 4].
        histories: The steps of every attack that was trained.
        thresholds: Of every baseline.
    """

    records: dict[tuple[str, str], RecordSet]
    patches: dict[str, np.ndarray]
    histories: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)


Executor = Callable[[deque[Piece], Advance], Iterator[tuple[Piece, Outcome | None]]]
"""Does all pieces of work, in whatever order and wherever; when it hands one over, more may come. Counts seconds.

None instead of an outcome: somebody else has done it already.
"""


class Evaluation:
    """A plan on some frames, with results in a folder.

    Args:
        segmenter: The network.
        profiles: Profiles of our defense, at least one; adaptive attacks know the first.
        parts: The frames; they are thinned to what the plan wants.
        plan: What to do.
        folder: Where results are kept; made where it does not exist.

    Attributes:
        bench: Does the work.
        jobs: All of it.
        store: The results.

    Raises:
        ZmaskError: There is no profile, one of them is of another network, frames have labels that are no classes of
            the segmenter, or the folder cannot be used.
    """

    def __init__(
        self, segmenter: Segmenter, profiles: tuple[NamedProfile, ...], parts: Parts, plan: EvaluationPlan, folder: Path
    ) -> None:
        self.segmenter, self.plan, self.folder = segmenter, plan, folder
        self.parts = parts.thinned(plan.learned_frames, plan.test_frames)
        self.bench = Workbench(segmenter, profiles, self.parts, plan)
        self.store = jobs.ResultStore(folder / "units")
        self.jobs = jobs.JobList(plan, profiles, jobs.Subject(segmenter.digest, self.parts.digest(), __version__))

    def missing(self) -> list[jobs.TrainingJob | jobs.EvaluationJob]:
        """The jobs that have no result yet, in the order in which they are done."""
        return [job for job in self.jobs if not self._is_done(job)]

    def measure_pace(self) -> Pace:
        """The pace of this machine, from a short run of each kind of work that is missing."""
        noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
        image = self.parts.test[0].image
        network = min(timeit.repeat(lambda: segment(self.segmenter, image), number=1, repeat=3))
        frame = min(timeit.repeat(lambda: self.bench.attacked_image(0, noise), number=1, repeat=3))
        recipes = [job.recipe for job in self.missing() if isinstance(job, jobs.TrainingJob)]
        first = {kind_of(recipe): recipe for recipe in reversed(recipes)}
        return Pace(frame, network, {kind: self.bench.step_seconds(recipe) for kind, recipe in first.items()})

    def expected_seconds(self, pace: Pace) -> float:
        """How long the missing jobs take at this pace, with what evaluators learn first."""
        seconds, prepared = 0.0, set()
        for job in self.missing():
            steps = self._steps(job)
            if isinstance(job, jobs.EvaluationJob) and job.evaluator not in prepared:
                steps += self.bench.evaluators.learned_frames(job.evaluator)
                prepared.add(job.evaluator)
            seconds += steps * pace.seconds(job)
        return seconds

    def run(self, pace: Pace, progress: Progress = silent, executor: Executor | None = None) -> Results:
        """Do what is missing, then read all results; another process may work on the same folder.

        Args:
            pace: Tells how many seconds each step of the progress stands for.
            progress: Counts the expected seconds.
            executor: Does the work; None: this process, one job after the other. The results are the same.

        Raises:
            ZmaskError: A job cannot be done. The results of others are kept.
        """
        make_folder(self._patch_folder)
        waiting, ready = self.missing(), deque[Piece]()
        with progress("Evaluating", "planned s", round(self.expected_seconds(pace)) or None) as advance:
            self._release(waiting, ready, pace)
            for piece, outcome in (executor or self._in_order)(ready, advance):
                if outcome is not None:
                    self._keep(piece.job, outcome)
                if isinstance(piece.job, jobs.TrainingJob):
                    self._release(waiting, ready, pace)
        return self._read()

    def _release(self, waiting: list[jobs.TrainingJob | jobs.EvaluationJob], ready: deque[Piece], pace: Pace) -> None:
        """Move the jobs from ``waiting`` to ``ready`` for which all is there; both stay in the order of the plan."""
        released = {job.name: self._piece(job, pace) for job in waiting if self._can_begin(job)}
        waiting[:] = [job for job in waiting if job.name not in released]
        order = {job.name: number for number, job in enumerate(self.jobs)}
        pieces = sorted([*ready, *released.values()], key=lambda piece: order[piece.name])
        ready.clear()
        ready.extend(pieces)

    def _can_begin(self, job: jobs.TrainingJob | jobs.EvaluationJob) -> bool:
        needed = self._needed(job)
        return needed is None or needed.recipe is None or self._is_done(self.jobs.training(needed, needed.recipe))

    def _needed(self, job: jobs.TrainingJob | jobs.EvaluationJob) -> Attack | None:
        """The attack whose patches the job takes."""
        if isinstance(job, jobs.EvaluationJob):
            return job.attack
        return next((attack for attack in self.plan.attacks if attack.name == job.attack.start), None)

    def _piece(self, job: jobs.TrainingJob | jobs.EvaluationJob, pace: Pace) -> Piece:
        needed = self._needed(job)
        patches = None if needed is None else self._patches(needed)
        return Piece(job.name, job, patches, self._steps(job), pace.seconds(job))

    def _steps(self, job: jobs.TrainingJob | jobs.EvaluationJob) -> int:
        if isinstance(job, jobs.TrainingJob):
            return job.recipe.steps * job.recipe.restarts
        return len(self.bench.indices(job))

    def _in_order(self, pieces: deque[Piece], advance: Advance) -> Iterator[tuple[Piece, Outcome | None]]:
        """Do the pieces in this process; an `Executor`."""
        while pieces:
            piece = pieces.popleft()
            if self._is_done(piece.job):
                yield piece, None
                continue

            def advance_seconds(steps: float = 1, note: str = "", each: float = piece.step_seconds) -> None:
                advance(steps * each, note)

            if isinstance(piece.job, jobs.EvaluationJob):
                yield piece, self.bench.evaluate(piece, advance_seconds)
                continue
            # The key keeps it apart from what an interrupted run with another recipe left.
            state = self._patch_folder / f".{piece.job.key}.state"
            yield piece, self.bench.train(piece, advance_seconds, state)
            state.unlink(missing_ok=True)

    def _keep(self, job: jobs.TrainingJob | jobs.EvaluationJob, outcome: Outcome) -> None:
        if isinstance(job, jobs.TrainingJob) and isinstance(outcome, PatchResult):
            place, source = self._patch_path(job), f"{self.parts.source}, attack part"
            save_patch(place, outcome, job.recipe, self.segmenter, (source,))
            self.store.put(job, tuple(outcome.history))
        elif isinstance(outcome, jobs.Evaluated):
            self.store.put(job, outcome)

    def _is_done(self, job: jobs.TrainingJob | jobs.EvaluationJob) -> bool:
        return self.store.has(job) and (isinstance(job, jobs.EvaluationJob) or self._patch_path(job).is_file())

    @property
    def _patch_folder(self) -> Path:
        return self.folder / "patches"

    def _patch_path(self, job: jobs.TrainingJob) -> Path:
        return self._patch_folder / f"{job.file_name}.png"

    def _patches(self, attack: Attack) -> np.ndarray:
        trained = None if attack.recipe is None else self._patch_path(self.jobs.training(attack, attack.recipe))
        return load_patches(trained or Path(attack.file or ""))

    def _read(self) -> Results:
        results = Results({}, {attack.name: self._patches(attack) for attack in self.plan.attacks})
        for job in self.jobs:
            if isinstance(job, jobs.TrainingJob):
                results.histories[job.attack.name] = jobs.TRAINED.validate_python(self.store.get(job))
                continue
            kept = jobs.EVALUATED.validate_python(self.store.get(job))
            results.records[job.frames, job.evaluator] = RecordSet(kept.records, len(self.segmenter.classes))
            if kept.threshold is not None:
                results.thresholds[job.evaluator] = kept.threshold
        return results

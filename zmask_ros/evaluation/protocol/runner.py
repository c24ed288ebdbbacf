"""Runs a plan: trains its patches, records every frame, keeps each result, and resumes after an interruption."""

from __future__ import annotations

import time
import timeit
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from zmask_ros import __version__
from zmask_ros.attacks import Recipe, Step, load_patches, paste_at_random, save_patch, to_tensor, train_patch
from zmask_ros.attacks.scenes import evenly
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.baselines.interface import segment
from zmask_ros.evaluation.baselines.registry import COMPARED
from zmask_ros.evaluation.metrics.records import RecordSet, TestFrame, record
from zmask_ros.evaluation.metrics.segmentation import IGNORED
from zmask_ros.evaluation.protocol import jobs
from zmask_ros.evaluation.protocol.benign_sets import hard_frame
from zmask_ros.evaluation.protocol.evaluators import BOUNDS, CLEAN, NONE, ORACLE, Evaluators, NamedProfile
from zmask_ros.evaluation.protocol.frames import Parts
from zmask_ros.evaluation.protocol.plan import Attack, EvaluationPlan
from zmask_ros.io.files import make_folder
from zmask_ros.progress import Advance, Progress, silent
from zmask_ros.segmenters import UNLABELLED, Segmenter

PASSES = {CLEAN: 0.1, NONE: 1.0, ORACLE: 1.1} | {name: entry.passes for name, entry in COMPARED.items()}
OUR_PASSES = 2.3
"""What a frame costs at most, in passes of the plain network: for estimates of time."""


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
    steps: dict[tuple[bool, int], float]

    def seconds(self, job: jobs.TrainingJob | jobs.EvaluationJob) -> float:
        """One step of a job: a training step, or a frame under its evaluator."""
        if isinstance(job, jobs.TrainingJob):
            return self.steps.get(kind_of(job.recipe), 0.0)
        return self.frame + PASSES.get(job.evaluator, OUR_PASSES) * self.network


def kind_of(recipe: Recipe) -> tuple[bool, int]:
    """What the time of a training step depends on: whether it knows the defense, and its number of patches."""
    return recipe.knows_the_defense, recipe.patches


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


class Evaluation:
    """A plan on some frames, with results in a folder.

    Args:
        segmenter: The network.
        profiles: Profiles of our defense, at least one; adaptive attacks know the first.
        parts: The frames; they are thinned to what the plan wants.
        plan: What to do.
        folder: Where results are kept; made where it does not exist.

    Raises:
        ZmaskError: There is no profile, frames have labels that are no classes of the segmenter, or the folder cannot
            be used.
    """

    def __init__(
        self, segmenter: Segmenter, profiles: tuple[NamedProfile, ...], parts: Parts, plan: EvaluationPlan, folder: Path
    ) -> None:
        if not profiles:
            raise ZmaskError("There is nothing to evaluate: name at least one profile.")
        self.segmenter, self.plan, self.folder = segmenter, plan, folder
        self.parts = parts.thinned(plan.learned_frames, plan.test_frames)
        for scene in self.parts.test:
            known = [] if scene.labels is None else scene.labels[scene.labels != UNLABELLED]
            if np.max(known, initial=0) >= len(segmenter.classes):
                raise ZmaskError(f"{scene.name} has labels unknown to '{segmenter.name}': leave them out.")
        self.evaluators = Evaluators(segmenter, profiles, self.parts, plan.false_alarm_rate)
        self.store = jobs.ResultStore(folder / "units")
        self._first = profiles[0].profile
        self._attack_frames = [(scene.image, scene.labels) for scene in self.parts.attack]
        self._clean_labels = [segment(segmenter, scene.image) for scene in self.parts.test]
        self.jobs = jobs.JobList(plan, profiles, jobs.Subject(segmenter.digest, self.parts.digest(), __version__))
        for name in self.jobs.ours:
            # A profile of another network is refused before patches are trained.
            self.evaluators.baseline(name)

    def missing(self) -> list[jobs.TrainingJob | jobs.EvaluationJob]:
        """The jobs that have no result yet, in the order in which they are done."""
        return [job for job in self.jobs if not self._is_done(job)]

    def measure_pace(self) -> Pace:
        """The pace of this machine, from a short run of each kind of work that is missing."""
        noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
        image = self.parts.test[0].image
        network = min(timeit.repeat(lambda: segment(self.segmenter, image), number=1, repeat=3))
        frame = min(timeit.repeat(lambda: self.attacked_image(0, noise), number=1, repeat=3))
        recipes = [job.recipe for job in self.missing() if isinstance(job, jobs.TrainingJob)]
        first = {kind_of(recipe): recipe for recipe in reversed(recipes)}
        return Pace(frame, network, {kind: self._step_seconds(recipe) for kind, recipe in first.items()})

    def _step_seconds(self, recipe: Recipe) -> float:
        ends: list[float] = []
        short, few = replace(recipe, steps=2, restarts=1), self._attack_frames[:4]
        train_patch(self.segmenter, few, short, lambda _: ends.append(time.perf_counter()), self._first)
        return ends[-1] - ends[-2]

    def expected_seconds(self, pace: Pace) -> float:
        """How long the missing jobs take at this pace, with what evaluators learn first."""
        seconds, prepared = 0.0, set()
        for job in self.missing():
            if isinstance(job, jobs.TrainingJob):
                steps = job.recipe.steps * job.recipe.restarts
            else:
                learned = 0 if job.evaluator in prepared else self.evaluators.learned_frames(job.evaluator)
                steps = learned + len(self._indices(job))
                prepared.add(job.evaluator)
            seconds += steps * pace.seconds(job)
        return seconds

    def run(self, pace: Pace, progress: Progress = silent) -> Results:
        """Do what is missing, then read all results; another process may work on the same folder.

        Args:
            pace: Tells how many seconds each step of the progress stands for.
            progress: Counts the expected seconds.
        """
        with progress("Evaluating", "planned s", round(self.expected_seconds(pace)) or None) as advance:
            for job in self.missing():
                if self._is_done(job):
                    continue
                if isinstance(job, jobs.TrainingJob):
                    self._train(job, pace, advance)
                else:
                    self._evaluate(job, pace, advance)
        return self._read()

    def attacked_image(self, index: int, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Test scene ``index`` with patches in it: image uint8 [H, W, 3] and the patches' pixels, bool [H, W].

        Where they are depends only on the scene's name and on the plan's seed: all patches of one size are seen alike.
        """
        scene, seen = self.parts.test[index], self.plan.seen
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.plan.seed}:{scene.name}".encode()))
        larger = scene.image.shape[0] / self.segmenter.input_size[0]
        ranges = replace(seen, scale=(seen.scale[0] * larger, seen.scale[1] * larger))
        return paste_at_random(scene.image, patches, ranges, generator)

    def chosen(self, most: int) -> list[int]:
        """Indices of at most ``most`` test scenes, evenly spread."""
        return evenly(len(self.parts.test), most)

    def frame(self, index: int, image: np.ndarray, hidden: np.ndarray) -> TestFrame:
        """Test scene ``index`` as ``image``, uint8 [H, W, 3], without labels where ``hidden``, bool [H, W].

        The truth of a scene without labels is what the network sees in it while it is clean.
        """
        scene, clean = self.parts.test[index], self._clean_labels[index]
        truth = np.where(hidden, np.uint8(IGNORED), clean if scene.labels is None else scene.labels)
        return TestFrame(scene.name, scene.drive, image, truth, hidden, clean)

    def _is_done(self, job: jobs.TrainingJob | jobs.EvaluationJob) -> bool:
        return self.store.has(job) and (isinstance(job, jobs.EvaluationJob) or self._patch_path(job).is_file())

    def _patch_path(self, job: jobs.TrainingJob) -> Path:
        return self.folder / "patches" / f"{job.file_name}.png"

    def _patches(self, attack: Attack) -> np.ndarray:
        trained = None if attack.recipe is None else self._patch_path(self.jobs.training(attack, attack.recipe))
        return load_patches(trained or Path(attack.file or ""))

    def _train(self, job: jobs.TrainingJob, pace: Pace, advance: Advance) -> None:
        seconds, path = pace.seconds(job), self._patch_path(job)

        def step_done(step: Step) -> None:
            advance(seconds, f"{job.name}: loss {step.loss:.2f}")

        make_folder(path.parent)
        start = None
        for other in self.plan.attacks:
            if other.name == job.attack.start:
                start = torch.stack([to_tensor(patch) for patch in self._patches(other)[..., :3]])
        # The key keeps it apart from what an interrupted run with another recipe left.
        state = path.with_name(f".{job.key}.state")
        frames, first = self._attack_frames, self._first
        result = train_patch(self.segmenter, frames, job.recipe, step_done, first, state=state, start=start)
        state.unlink(missing_ok=True)
        save_patch(path, result, job.recipe, self.segmenter, (f"{self.parts.source}, attack part",))
        self.store.put(job, tuple(result.history))

    def _evaluate(self, job: jobs.EvaluationJob, pace: Pace, advance: Advance) -> None:
        seconds = pace.seconds(job)

        def learned(steps: float = 1, note: str = "") -> None:
            advance(seconds * steps, f"preparing {job.evaluator}")

        evaluator, records = self.evaluators.evaluator(job.evaluator, learned), []
        patches = np.empty(0) if job.attack is None else self._patches(job.attack)
        for index in self._indices(job):
            frame = self.frame(index, *self._changed(job, index, patches))
            records.append(record(frame, evaluator(frame), len(self.segmenter.classes)))
            advance(seconds, job.name)
        threshold = None if job.evaluator in BOUNDS else float(self.evaluators.baseline(job.evaluator).threshold)
        self.store.put(job, jobs.Evaluated(threshold, tuple(records)))

    def _indices(self, job: jobs.EvaluationJob) -> list[int]:
        if job.attack is not None:
            return self.chosen(self.plan.attacked_frames)
        return self.chosen(self.plan.hard_frames if job.hard else self.plan.test_frames)

    def _changed(self, job: jobs.EvaluationJob, index: int, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The image of a test scene as the job shows it, and what is hidden in it."""
        if job.attack is not None:
            return self.attacked_image(index, patches)
        images = [scene.image for scene in self.parts.test]
        if job.hard is not None:
            others = [scene.image for scene in self.parts.statistics]
            return hard_frame(job.hard, images, index, self.plan.seed, others)
        return images[index], np.zeros(images[index].shape[:2], bool)

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

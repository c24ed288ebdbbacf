"""Runs a plan: trains its patches, records every frame, keeps each result, and resumes after an interruption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zmask_ros import __version__
from zmask_ros.attacks import Step, load_patches, save_patch, to_tensor
from zmask_ros.attacks.scenes import evenly
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.baselines.interface import segment
from zmask_ros.evaluation.metrics.records import RecordSet, record_frames
from zmask_ros.evaluation.protocol.benign_sets import hard_frame
from zmask_ros.evaluation.protocol.evaluators import BOUNDS, Evaluators, NamedProfile
from zmask_ros.evaluation.protocol.frames import Parts
from zmask_ros.evaluation.protocol.jobs import (
    Evaluated,
    EvaluationJob,
    JobId,
    JobList,
    ResultStore,
    Subject,
    Trained,
    make_folder,
)
from zmask_ros.evaluation.protocol.pace import Pace
from zmask_ros.evaluation.protocol.patches import TestSet, paste, train
from zmask_ros.evaluation.protocol.plan import Attack, EvaluationPlan
from zmask_ros.progress import Advance, Progress, silent
from zmask_ros.segmenters import UNLABELLED, Segmenter


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
        self,
        segmenter: Segmenter,
        profiles: tuple[NamedProfile, ...],
        parts: Parts,
        plan: EvaluationPlan,
        folder: Path,
    ) -> None:
        if not profiles:
            raise ZmaskError("There is nothing to evaluate: name at least one profile.")
        self.segmenter, self.plan, self.folder = segmenter, plan, folder
        self.parts = parts.thinned(plan.learned_frames, plan.test_frames)
        _check_labels(self.parts, segmenter)
        self.evaluators = Evaluators(segmenter, profiles, self.parts, plan.false_alarm_rate)
        self.store = ResultStore(folder / "units")
        clean = [segment(segmenter, scene.image) for scene in self.parts.test]
        self.test_set = TestSet(self.parts.test, clean)
        self.jobs = JobList(plan, profiles, Subject(segmenter.digest, self.parts.digest(), __version__))
        for name in self.jobs.ours:
            # A profile of another network is refused before patches are trained.
            self.evaluators.baseline(name)

    def missing(self) -> list[EvaluationJob]:
        """The jobs that have no result yet, in the order in which they are done."""
        return [job for job in self.jobs if not self._is_done(job)]

    def expected_seconds(self, pace: Pace) -> float:
        """How long the missing jobs take at this pace, with what evaluators learn first."""
        missing = self.missing()
        learned = {job.evaluator: self.evaluators.learned_frames(job.evaluator) for job in missing}
        preparing = sum(count * pace.frame_seconds(evaluator) for evaluator, count in learned.items())
        return preparing + sum(self._job_seconds(job, pace) for job in missing)

    def run(self, pace: Pace, progress: Progress = silent) -> Results:
        """Do what is missing, then read all results; another process may work on the same folder.

        Args:
            pace: Tells how many seconds each step of the progress stands for.
            progress: Counts the expected seconds.
        """
        with progress("Evaluating", "planned s", round(self.expected_seconds(pace)) or None) as advance:
            for job in self.missing():
                if not self._is_done(job):
                    (self._train if job.trains else self._evaluate)(job, pace, advance)
        return self._read()

    def attacked_image(self, index: int, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Test scene ``index`` with patches in it: image uint8 [H, W, 3] and the patches' pixels, bool [H, W]."""
        return paste(self.test_set.scenes[index], patches, self.plan.seen, self.segmenter, self.plan.seed)

    def chosen(self, most: int) -> list[int]:
        """Indices of at most ``most`` test scenes, evenly spread."""
        return evenly(len(self.test_set.scenes), most)

    def _is_done(self, job: EvaluationJob) -> bool:
        whole = not job.trains or self._patch_path(job.id).is_file()
        return whole and self.store.has(job.id)

    def _job_seconds(self, job: EvaluationJob, pace: Pace) -> float:
        if not job.trains:
            return len(self._indices(job)) * pace.frame_seconds(job.evaluator)
        assert job.attack is not None and job.attack.recipe is not None
        return job.attack.recipe.steps * job.attack.recipe.restarts * pace.step_seconds(job.attack)

    def _patches(self, attack: Attack) -> np.ndarray:
        return load_patches(Path(attack.file) if attack.file else self._patch_path(self.jobs.training(attack)))

    def _start(self, attack: Attack) -> Tensor | None:
        if attack.start is None:
            return None
        start = next(other for other in self.plan.attacks if other.name == attack.start)
        return torch.stack([to_tensor(patch) for patch in self._patches(start)[..., :3]])

    def _patch_path(self, job: JobId) -> Path:
        return self.folder / "patches" / f"{job.file_name}.png"

    def _train(self, job: EvaluationJob, pace: Pace, advance: Advance) -> None:
        assert job.attack is not None and job.attack.recipe is not None
        seconds = pace.step_seconds(job.attack)

        def step_done(step: Step) -> None:
            advance(seconds, f"{job.id.name}: loss {step.loss:.2f}")

        path, recipe = self._patch_path(job.id), job.attack.recipe
        make_folder(path.parent)
        # The key keeps it apart from what an interrupted run with another recipe left.
        state = path.with_name(f".{job.id.key}.state")
        profile, start = self.evaluators.profiles[0].profile, self._start(job.attack)
        result = train(self.segmenter, self.parts.attack, recipe, profile, step_done, state, start)
        save_patch(path, result, recipe, self.segmenter, (f"{self.parts.source}, attack part",))
        self.store.put(job.id, Trained(tuple(result.history)))

    def _evaluate(self, job: EvaluationJob, pace: Pace, advance: Advance) -> None:
        seconds = pace.frame_seconds(job.evaluator)

        def advance_seconds(note: str) -> Advance:
            return lambda steps=1, _="": advance(seconds * steps, note)

        evaluator = self.evaluators.evaluator(job.evaluator, advance_seconds(f"preparing {job.evaluator}"))
        frames = self.test_set.frames(self._indices(job), self._change(job))
        records = record_frames(evaluator, frames, len(self.segmenter.classes), advance_seconds(job.id.name))
        threshold = None if job.evaluator in BOUNDS else float(self.evaluators.baseline(job.evaluator).threshold)
        self.store.put(job.id, Evaluated(threshold, tuple(records)))

    def _indices(self, job: EvaluationJob) -> list[int]:
        if job.attack is not None:
            return self.chosen(self.plan.attacked_frames)
        return self.chosen(self.plan.hard_frames if job.hard else self.plan.test_frames)

    def _change(self, job: EvaluationJob) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
        """What is done to the image of a test scene."""
        images = [scene.image for scene in self.test_set.scenes]
        if job.attack is not None:
            patches = self._patches(job.attack)
            return lambda index: self.attacked_image(index, patches)
        if job.hard is None:
            return lambda index: (images[index], np.zeros(images[index].shape[:2], bool))
        name, others = job.hard, [scene.image for scene in self.parts.statistics]
        return lambda index: hard_frame(name, images, index, self.plan.seed, others)

    def _read(self) -> Results:
        results = Results({}, {attack.name: self._patches(attack) for attack in self.plan.attacks})
        for job in self.jobs:
            if job.trains:
                assert job.attack is not None
                results.histories[job.attack.name] = self.store.get(job.id, Trained).history
                continue
            kept = self.store.get(job.id, Evaluated)
            results.records[job.frames, job.evaluator] = RecordSet(kept.records, len(self.segmenter.classes))
            if kept.threshold is not None:
                results.thresholds[job.evaluator] = kept.threshold
        return results


def _check_labels(parts: Parts, segmenter: Segmenter) -> None:
    for scene in parts.test:
        known = [] if scene.labels is None else scene.labels[scene.labels != UNLABELLED]
        if np.max(known, initial=0) >= len(segmenter.classes):
            raise ZmaskError(f"{scene.name} has labels unknown to '{segmenter.name}': leave them out.")

"""Does single jobs of an evaluation, in whatever order: trains patches, and records what evaluators say of frames."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from zmask_ros.attacks import PatchResult, Recipe, Step, paste_at_random, to_tensor, train_patch
from zmask_ros.attacks.scenes import evenly
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.baselines.interface import segment
from zmask_ros.evaluation.metrics.records import TestFrame, record
from zmask_ros.evaluation.metrics.segmentation import IGNORED
from zmask_ros.evaluation.protocol import jobs
from zmask_ros.evaluation.protocol.benign_sets import hard_frame
from zmask_ros.evaluation.protocol.evaluators import BOUNDS, Evaluators, NamedProfile
from zmask_ros.evaluation.protocol.frames import Parts
from zmask_ros.evaluation.protocol.plan import EvaluationPlan
from zmask_ros.progress import Advance
from zmask_ros.segmenters import UNLABELLED, Segmenter


@dataclass(frozen=True)
class Piece:
    """A job with what it needs of other jobs, so that it can be done anywhere.

    Attributes:
        name: of the job.
        job: what is to be done.
        patches: uint8 [N, h, w, 3 or 4]; those that frames are attacked with, or that a training starts from.
        steps: frames that it records, or steps of a training.
        step_seconds: that each of them takes, as expected.
    """

    name: str
    job: jobs.TrainingJob | jobs.EvaluationJob = field(compare=False)
    patches: np.ndarray | None = field(compare=False)
    steps: int = field(compare=False)
    step_seconds: float = field(compare=False)


Outcome = PatchResult | jobs.Evaluated
"""Of a `TrainingJob`, and of an `EvaluationJob`."""


class Workbench:
    """All that it takes to do the jobs of an evaluation; what is learned for one is there for the next.

    Args:
        segmenter: The network.
        profiles: Profiles of our defense, at least one; adaptive attacks know the first.
        parts: The frames, as many as the plan wants.
        plan: What to do.

    Raises:
        ZmaskError: There is no profile, one of them is of another network, or frames have labels that are no classes
            of the segmenter.
    """

    def __init__(
        self, segmenter: Segmenter, profiles: tuple[NamedProfile, ...], parts: Parts, plan: EvaluationPlan
    ) -> None:
        if not profiles:
            raise ZmaskError("There is nothing to evaluate: name at least one profile.")
        self.segmenter, self.parts, self.plan = segmenter, parts, plan
        for scene in parts.test:
            known = [] if scene.labels is None else scene.labels[scene.labels != UNLABELLED]
            if np.max(known, initial=0) >= len(segmenter.classes):
                raise ZmaskError(f"{scene.name} has labels unknown to '{segmenter.name}': leave them out.")
        self.evaluators = Evaluators(segmenter, profiles, parts, plan.false_alarm_rate)
        self._first = profiles[0].profile
        self._clean_labels: dict[int, np.ndarray] = {}
        self._attack_frames = [(scene.image, scene.labels) for scene in parts.attack]
        for named in profiles:
            # A profile of another network is refused before patches are trained.
            self.evaluators.baseline(named.name)

    def train(self, piece: Piece, advance: Advance, state: Path | None = None) -> PatchResult:
        """Train the patches of a `TrainingJob`; for ``state`` see `train_patch`."""
        assert isinstance(piece.job, jobs.TrainingJob)
        start = None
        if piece.patches is not None:
            start = torch.stack([to_tensor(patch) for patch in piece.patches[..., :3]])

        def step_done(step: Step) -> None:
            advance(1, f"{piece.name}: loss {step.loss:.2f}")

        frames, first = self._attack_frames, self._first
        return train_patch(self.segmenter, frames, piece.job.recipe, step_done, first, state=state, start=start)

    def evaluate(self, piece: Piece, advance: Advance) -> jobs.Evaluated:
        """Do an `EvaluationJob`."""
        job, records = piece.job, []
        assert isinstance(job, jobs.EvaluationJob)

        def learned(steps: float = 1, note: str = "") -> None:
            advance(steps, f"preparing {job.evaluator}")

        evaluator = self.evaluators.evaluator(job.evaluator, learned)
        for index in self.indices(job):
            frame = self.frame(index, *self._changed(job, index, piece.patches))
            records.append(record(frame, evaluator(frame), len(self.segmenter.classes)))
            advance(1, piece.name)
        threshold = None if job.evaluator in BOUNDS else float(self.evaluators.baseline(job.evaluator).threshold)
        return jobs.Evaluated(threshold, tuple(records))

    def step_seconds(self, recipe: Recipe) -> float:
        """What a step of a training takes, measured."""
        ends: list[float] = []
        short, few = replace(recipe, steps=2, restarts=1), self._attack_frames[:4]
        train_patch(self.segmenter, few, short, lambda _: ends.append(time.perf_counter()), self._first)
        return ends[-1] - ends[-2]

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

    def indices(self, job: jobs.EvaluationJob) -> list[int]:
        """Indices of the test scenes that a job is about."""
        if job.attack is not None:
            return self.chosen(self.plan.attacked_frames)
        return self.chosen(self.plan.hard_frames if job.hard else self.plan.test_frames)

    def frame(self, index: int, image: np.ndarray, hidden: np.ndarray) -> TestFrame:
        """Test scene ``index`` as ``image``, uint8 [H, W, 3], without labels where ``hidden``, bool [H, W].

        The truth of a scene without labels is what the network sees in it while it is clean.
        """
        scene, clean = self.parts.test[index], self._clean(index)
        truth = np.where(hidden, np.uint8(IGNORED), clean if scene.labels is None else scene.labels)
        return TestFrame(scene.name, scene.drive, image, truth, hidden, clean)

    def _clean(self, index: int) -> np.ndarray:
        """What the network sees in a clean test scene, uint8 [H, W]; many jobs ask for it."""
        if index not in self._clean_labels:
            self._clean_labels[index] = segment(self.segmenter, self.parts.test[index].image)
        return self._clean_labels[index]

    def _changed(
        self, job: jobs.EvaluationJob, index: int, patches: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The image of a test scene as the job shows it, and what is hidden in it."""
        if patches is not None:
            return self.attacked_image(index, patches)
        images = [scene.image for scene in self.parts.test]
        if job.hard is not None:
            others = [scene.image for scene in self.parts.statistics]
            return hard_frame(job.hard, images, index, self.plan.seed, others)
        return images[index], np.zeros(images[index].shape[:2], bool)

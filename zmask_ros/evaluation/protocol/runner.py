"""Runs a plan: trains its patches, judges every frame, keeps each result, and goes on after a break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zmask_ros import __version__
from zmask_ros.attacks import Step, load_patches, save_patch, to_tensor
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.baselines.interface import segment
from zmask_ros.evaluation.metrics.records import Column, from_json, judge_frames, to_json
from zmask_ros.evaluation.protocol.benign_sets import hard_frame
from zmask_ros.evaluation.protocol.estimate import Pace
from zmask_ros.evaluation.protocol.frames import Parts
from zmask_ros.evaluation.protocol.jobs import Unit, UnitStore, Work, WorkList, make_folder
from zmask_ros.evaluation.protocol.judges import BOUNDS, Judges, NamedProfile
from zmask_ros.evaluation.protocol.patches import Target, show, train
from zmask_ros.evaluation.protocol.plan import Attack, Plan
from zmask_ros.segmenters import UNLABELLED, Segmenter

Advance = Callable[[float, str], None]
"""Called with the estimated seconds of what has been done, and with a line on what is being done."""


@dataclass(frozen=True)
class Results:
    """All that was measured.

    Attributes:
        columns: records by (set, judge); sets are "clean", "attack NAME" and "hard NAME".
        patches: of every attack, uint8 [N, h, w, 3 or 4].
        histories: of every attack that was trained: its steps, JSON-ready.
        thresholds: of every defence.
    """

    columns: dict[tuple[str, str], Column]
    patches: dict[str, np.ndarray]
    histories: dict[str, list[dict[str, Any]]]
    thresholds: dict[str, float]


class Evaluation:
    """A plan on some frames, with results in a folder.

    Args:
        segmenter: the network.
        profiles: of our defence, at least one; the first is the one that adaptive attacks know.
        parts: frames; thinned to what the plan wants.
        plan: what to do.
        folder: where results are kept; made where it does not exist.

    Raises:
        ZmaskError: no profile, frames whose labels are no classes of the segmenter, or a folder that cannot be used.
    """

    def __init__(
        self, segmenter: Segmenter, profiles: tuple[NamedProfile, ...], parts: Parts, plan: Plan, folder: Path
    ) -> None:
        if not profiles:
            raise ZmaskError("There is nothing to evaluate: name at least one profile.")
        self.segmenter, self.plan, self.folder = segmenter, plan, folder
        self.parts = parts.thinned(plan.learned_frames, plan.test_frames)
        _check_labels(self.parts, segmenter)
        self.judges = Judges(segmenter, profiles, self.parts, plan.false_alarm_rate)
        self.store = UnitStore(folder / "units")
        clean = [segment(segmenter, scene.image) for scene in self.parts.test]
        self.target = Target(self.parts.test, clean)
        subject = {"segmenter": segmenter.digest, "frames": self.parts.digest(), "version": __version__}
        self.work = WorkList(plan, profiles, subject)
        for name in self.work.ours:
            # A profile of another network is refused before patches are trained.
            self.judges.defence(name)

    def missing(self) -> list[Work]:
        """What has no result yet, in the order in which it is done."""
        return [work for work in self.work if not self._is_done(work)]

    def frame_count(self, work: Work) -> int:
        """How many frames a unit judges."""
        return 0 if work.trains else len(self._indices(work))

    def run(self, pace: Pace, advance: Advance) -> Results:
        """Do what is missing, then read all results; another process may work on the same folder."""
        for work in self.missing():
            if not self._is_done(work):
                (self._train if work.trains else self._judge)(work, pace, advance)
        return self._read()

    def show(self, index: int, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Test scene ``index`` with patches in it: image uint8 [H, W, 3] and the patches' pixels, bool [H, W]."""
        return show(self.target.scenes[index], patches, self.plan.seen, self.segmenter, self.plan.seed)

    def chosen(self, most: int) -> list[int]:
        """Indices of at most ``most`` test scenes, evenly spread."""
        count = len(self.target.scenes)
        return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist()

    def _is_done(self, work: Work) -> bool:
        whole = not work.trains or self._patch_path(work.unit).is_file()
        return whole and self.store.get(work.unit) is not None

    def _patches(self, attack: Attack) -> np.ndarray:
        return load_patches(Path(attack.file) if attack.file else self._patch_path(self.work.training(attack)))

    def _start(self, attack: Attack) -> Tensor | None:
        named = {other.name: other for other in self.plan.attacks}
        if attack.start is None:
            return None
        patches = self._patches(named[attack.start])[..., :3]
        return torch.stack([to_tensor(patch) for patch in patches])

    def _patch_path(self, unit: Unit) -> Path:
        return self.folder / "patches" / f"{unit.file_name}.png"

    def _train(self, work: Work, pace: Pace, advance: Advance) -> None:
        assert work.attack is not None and work.attack.recipe is not None
        each = pace.step_seconds(work.attack)

        def progress(step: Step) -> None:
            advance(each, f"{work.unit.name}: loss {step.loss:.2f}")

        place, recipe = self._patch_path(work.unit), work.attack.recipe
        make_folder(place.parent)
        # The key keeps it apart from what an interrupted run with another recipe left.
        state = place.with_name(f".{work.unit.key}.state")
        profile, start = self.judges.profiles[0].profile, self._start(work.attack)
        result = train(self.segmenter, self.parts.attack, recipe, profile, progress, state, start)
        save_patch(place, result, recipe, self.segmenter, (f"{self.parts.source}, attack part",))
        self.store.put(work.unit, [asdict(step) for step in result.history])

    def _judge(self, work: Work, pace: Pace, advance: Advance) -> None:
        each = pace.frame_seconds(work.judge)
        judge = self.judges.judge(work.judge, lambda: advance(each, f"preparing {work.judge}"))
        frames = self.target.frames(self._indices(work), self._change(work))
        records = judge_frames(judge, frames, len(self.segmenter.classes), lambda: advance(each, work.unit.name))
        threshold = None if work.judge in BOUNDS else float(self.judges.defence(work.judge).threshold)
        self.store.put(work.unit, {"threshold": threshold, "records": to_json(records)})

    def _indices(self, work: Work) -> list[int]:
        if work.attack is not None:
            return self.chosen(self.plan.attacked_frames)
        return self.chosen(self.plan.hard_frames if work.hard else self.plan.test_frames)

    def _change(self, work: Work) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
        """What is done to the image of a test scene."""
        images = [scene.image for scene in self.target.scenes]
        if work.attack is not None:
            patches = self._patches(work.attack)
            return lambda index: self.show(index, patches)
        if work.hard is None:
            return lambda index: (images[index], np.zeros(images[index].shape[:2], bool))
        name, others = work.hard, [scene.image for scene in self.parts.statistics]
        return lambda index: hard_frame(name, images, index, self.plan.seed, others)

    def _read(self) -> Results:
        results = Results({}, {attack.name: self._patches(attack) for attack in self.plan.attacks}, {}, {})
        for work in self.work:
            kept = self.store.get(work.unit)
            if work.trains:
                assert work.attack is not None
                results.histories[work.attack.name] = kept
                continue
            records = from_json(kept["records"])
            results.columns[work.frames, work.judge] = Column(records, len(self.segmenter.classes))
            if kept["threshold"] is not None:
                results.thresholds[work.judge] = kept["threshold"]
        return results


def _check_labels(parts: Parts, segmenter: Segmenter) -> None:
    for scene in parts.test:
        known = [] if scene.labels is None else scene.labels[scene.labels != UNLABELLED]
        if np.max(known, initial=0) >= len(segmenter.classes):
            raise ZmaskError(f"{scene.name} has labels unknown to '{segmenter.name}': leave them out.")

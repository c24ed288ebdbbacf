"""How fast this machine is: what an evaluation will take is said before it begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from zmask_ros.evaluation.baselines.interface import segment
from zmask_ros.evaluation.protocol.jobs import Work
from zmask_ros.evaluation.protocol.judges import passes
from zmask_ros.evaluation.protocol.patches import train
from zmask_ros.evaluation.protocol.plan import Attack

if TYPE_CHECKING:
    from zmask_ros.evaluation.protocol.runner import Evaluation


@dataclass(frozen=True)
class Pace:
    """How fast this machine is, in seconds.

    Attributes:
        frame: making one test frame and reading its result.
        network: one pass of the plain network.
        steps: one training step of an attack, by what it knows of the defence and how many patches it has.
    """

    frame: float
    network: float
    steps: dict[tuple[bool, int], float]

    @staticmethod
    def measure(evaluation: Evaluation) -> Pace:
        """Try each kind of work once."""
        scenes, segmenter = evaluation.target.scenes, evaluation.segmenter
        noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
        network = min(_seconds(lambda: segment(segmenter, scenes[0].image)) for _ in range(3))
        frame = min(_seconds(lambda: evaluation.show(0, noise)) for _ in range(3))
        steps: dict[tuple[bool, int], float] = {}
        for attack in (work.attack for work in evaluation.missing() if work.trains):
            if attack is not None and _kind(attack) not in steps:
                steps[_kind(attack)] = _step_seconds(evaluation, attack)
        return Pace(frame, network, steps)

    def frame_seconds(self, judge: str) -> float:
        """One frame under one judge."""
        return self.frame + passes(judge) * self.network

    def step_seconds(self, attack: Attack) -> float:
        """One training step."""
        return self.steps.get(_kind(attack), 0.0)

    def total(self, evaluation: Evaluation) -> float:
        """All that is missing, with what judges learn first."""
        missing = evaluation.missing()
        learned = {work.judge: evaluation.judges.learned_frames(work.judge) for work in missing}
        preparing = sum(count * self.frame_seconds(judge) for judge, count in learned.items())
        return preparing + sum(self._unit_seconds(evaluation, work) for work in missing)

    def _unit_seconds(self, evaluation: Evaluation, work: Work) -> float:
        if not work.trains:
            return evaluation.frame_count(work) * self.frame_seconds(work.judge)
        assert work.attack is not None and work.attack.recipe is not None
        return work.attack.recipe.steps * work.attack.recipe.restarts * self.step_seconds(work.attack)


def _kind(attack: Attack) -> tuple[bool, int]:
    assert attack.recipe is not None
    return attack.recipe.knows_the_defense, attack.recipe.patches


def _step_seconds(evaluation: Evaluation, attack: Attack) -> float:
    assert attack.recipe is not None
    recipe = replace(attack.recipe, steps=2, restarts=1)
    ends: list[float] = []
    scenes, profile = evaluation.parts.attack[:4], evaluation.judges.profiles[0].profile
    train(evaluation.segmenter, scenes, recipe, profile, lambda step: ends.append(time.perf_counter()))
    return ends[-1] - ends[-2]


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began

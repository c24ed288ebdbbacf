"""Measures how fast this machine runs an evaluation, so that its duration is known before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from zmask_ros.evaluation.baselines.interface import segment
from zmask_ros.evaluation.protocol.pace import Pace, kind_of
from zmask_ros.evaluation.protocol.patches import train
from zmask_ros.evaluation.protocol.plan import Attack
from zmask_ros.evaluation.protocol.runner import Evaluation


def measure_pace(evaluation: Evaluation) -> Pace:
    """The pace of this machine, from a short run of each kind of work that is missing."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    image = evaluation.test_set.scenes[0].image
    network = min(_seconds(lambda: segment(evaluation.segmenter, image)) for _ in range(3))
    frame = min(_seconds(lambda: evaluation.attacked_image(0, noise)) for _ in range(3))
    steps: dict[tuple[bool, int], float] = {}
    for attack in (job.attack for job in evaluation.missing() if job.trains):
        if attack is not None and kind_of(attack) not in steps:
            steps[kind_of(attack)] = _step_seconds(evaluation, attack)
    return Pace(frame, network, steps)


def _step_seconds(evaluation: Evaluation, attack: Attack) -> float:
    assert attack.recipe is not None
    recipe = replace(attack.recipe, steps=2, restarts=1)
    ends: list[float] = []
    scenes, profile = evaluation.parts.attack[:4], evaluation.evaluators.profiles[0].profile
    train(evaluation.segmenter, scenes, recipe, profile, lambda step: ends.append(time.perf_counter()))
    return ends[-1] - ends[-2]


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started

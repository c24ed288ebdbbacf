"""A small evaluation of the tiny network, for tests."""

from __future__ import annotations

from pathlib import Path

from support.tiny_network import clean_image, describe, fit
from zmask_ros.attacks import Recipe
from zmask_ros.evaluation.protocol.evaluators import NamedProfile
from zmask_ros.evaluation.protocol.frames import Parts, Scene, parted
from zmask_ros.evaluation.protocol.plan import Attack, EvaluationPlan
from zmask_ros.evaluation.protocol.runner import Evaluation
from zmask_ros.segmenters import load_segmenter


def scene(index: int, drive: str = "drive") -> Scene:
    return Scene(f"frame {index}", drive, clean_image(index), None)


def parts() -> Parts:
    return parted("tiny", [scene(index) for index in range(100, 120)], [scene(index) for index in range(200, 206)])


def recipe(seed: int, **entries: object) -> Recipe:
    return Recipe(**({"size": (16, 16), "steps": 3, "batch": 2, "seed": seed} | entries))


def plan() -> EvaluationPlan:
    return EvaluationPlan(
        "tiny",
        (
            Attack("big", "full", recipe(7)),
            Attack("half", "graded", recipe(8, beta=0.5), start="big"),
            Attack("sly", "adaptive", recipe(9, adaptive="flag"), reference="big", family="flag"),
        ),
        attacked_frames=4,
        hard_frames=2,
        hard_sets=("glare", "random patch"),
        compared=("plain threshold", "HN"),
    )


def named_profile(folder: Path) -> tuple[Path, NamedProfile]:
    """The description of the tiny network, and a profile for it."""
    description = describe(folder)
    return description, NamedProfile.load("ours", fit(description))


def evaluation(
    folder: Path, description: Path, named: NamedProfile, chosen: EvaluationPlan | None = None
) -> Evaluation:
    return Evaluation(load_segmenter(str(description), "cpu"), (named,), parts(), chosen or plan(), folder)

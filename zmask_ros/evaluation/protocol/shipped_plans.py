"""The plans that come with the package: the published one, and a quick one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from zmask_ros.attacks import Recipe
from zmask_ros.evaluation.protocol.plan import ADAPTIVE, FULL, GRADED, SEEN, Attack, EvaluationPlan
from zmask_ros.segmenters import Segmenter

SIZES = {"small": 0.2, "medium": 0.3, "large": 0.4}
"""Side of a patch as a share of the height of the network's input: 3, 7 and 12 % of an image of 4:3 at full scale."""
GRADES = (("medium", 0.5), ("medium", 0.75), ("large", 0.5), ("large", 0.75))
"""Sizes and strengths of the graded patches; strength 1 is the attack of full strength."""
PREFERRED_TARGET = "Tree"
SPLIT, PARTS = "untargeted split", 4
BATCH = 2
FIRST_SEED = 9001
"""Seeds of the patches count up from here."""


@dataclass
class _Builder:
    """Gathers attacks; the steps are those that patches of full strength, graded and adaptive ones are trained for."""

    segmenter: Segmenter
    steps: int
    graded_steps: int
    adaptive_steps: int
    attacks: list[Attack] = field(default_factory=list)

    def add(self, attack: Attack, steps: int, size: str, **entries: Any) -> None:
        """Add ``attack`` with a recipe of these ``entries``."""
        side = max(8, round(SIZES[size] * self.segmenter.input_size[0]))
        seed = FIRST_SEED + len(self.attacks)
        recipe = Recipe(size=(side, side), steps=steps, batch=BATCH, eot=SEEN, seed=seed, **entries)
        self.attacks.append(replace(attack, recipe=recipe))

    def untargeted(self, size: str) -> None:
        self.add(Attack(f"untargeted {size}", FULL), self.steps, size)

    def targeted(self, size: str) -> None:
        names = list(self.segmenter.classes)
        target = PREFERRED_TARGET if PREFERRED_TARGET in names else names[0]
        self.add(Attack(f"targeted {size}", FULL), self.steps, size, objective="targeted", target=target)

    def graded(self, size: str, beta: float) -> None:
        attack = Attack(f"beta {beta:g} {size}", GRADED, start=f"untargeted {size}")
        self.add(attack, self.graded_steps, size, beta=beta)

    def adaptive(self, family: str, reference: str, size: str, **entries: Any) -> None:
        """Add an attack that starts from the patch that does the most without a defense, and learns to evade."""
        attack = Attack(family, ADAPTIVE, start=reference, reference=reference, family=family)
        self.add(attack, self.adaptive_steps, size, **entries)

    def converged(self, family: str, reference: str, size: str, **entries: Any) -> None:
        """Add an adaptive family twice: the second time from noise and another seed, and with double the steps."""
        self.adaptive(family, reference, size, **entries)
        attack = Attack(f"{family}, from noise", ADAPTIVE, reference=reference, family=family)
        self.add(attack, 2 * self.adaptive_steps, size, **entries)


def published_plan(segmenter: Segmenter) -> EvaluationPlan:
    """The published evaluation: three sizes, two objectives, graded strengths, six adaptive families, each twice."""
    builder = _Builder(segmenter, steps=120, graded_steps=40, adaptive_steps=50)
    for size in SIZES:
        builder.untargeted(size)
        builder.targeted(size)
    for size, beta in GRADES:
        builder.graded(size, beta)
    builder.add(Attack(SPLIT, FULL), builder.steps, "small", patches=PARTS)
    for family in ("flag", "mask", "both", "overmask"):
        builder.converged(family, "untargeted large", "large", adaptive=family)
    builder.converged("split", SPLIT, "small", adaptive="both", patches=PARTS)
    builder.converged("decoys", SPLIT, "small", adaptive="mask", patches=PARTS, decoys=PARTS // 2)
    return EvaluationPlan("published", tuple(builder.attacks), attacked_frames=34, hard_frames=24)


def quick_plan(segmenter: Segmenter) -> EvaluationPlan:
    """A plan of a few minutes: three patches and few frames, too few to judge a defense by."""
    builder = _Builder(segmenter, steps=20, graded_steps=10, adaptive_steps=15)
    builder.untargeted("large")
    builder.graded("large", 0.5)
    builder.adaptive("both", "untargeted large", "large", adaptive="both")
    return EvaluationPlan(
        "quick", tuple(builder.attacks), learned_frames=30, test_frames=30, attacked_frames=12, hard_frames=5
    )


PLANS = {"published": published_plan, "quick": quick_plan}

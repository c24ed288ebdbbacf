"""The plans that come with the package: the published one, and a quick one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zmask_ros.attacks import Recipe
from zmask_ros.evaluation.protocol.plan import ADAPTIVE, FULL, GRADED, SEEN, Attack, EvaluationPlan
from zmask_ros.segmenters import Segmenter


@dataclass(frozen=True)
class TrainingEffort:
    """What a plan's patches cost to train: Adam steps, and images a step."""

    steps: int
    graded_steps: int
    adaptive_steps: int
    batch: int = 2


SIZES = {"small": 0.2, "medium": 0.3, "large": 0.4}
"""Side of a patch as a share of the height of the network's input: 3, 7 and 12 % of an image of 4:3 at full scale."""
GRADES = (("medium", 0.5), ("medium", 0.75), ("large", 0.5), ("large", 0.75))
"""Sizes and strengths of the graded patches; strength 1 is the attack of full strength."""
PREFERRED_TARGET = "Tree"
PARTS = 4
FIRST_SEED = 9001
"""Seeds of the patches count up from here."""


@dataclass
class _Builder:
    segmenter: Segmenter
    effort: TrainingEffort
    attacks: list[Attack] = field(default_factory=list)

    def add(
        self,
        name: str,
        group: str,
        steps: int,
        size: str,
        start: str | None = None,
        reference: str | None = None,
        family: str | None = None,
        **entries: Any,
    ) -> str:
        """Add an attack with ``entries`` of its recipe; the name is given back for others to refer to."""
        side = max(8, round(SIZES[size] * self.segmenter.input_size[0]))
        seed = FIRST_SEED + len(self.attacks)
        recipe = Recipe(size=(side, side), steps=steps, batch=self.effort.batch, eot=SEEN, seed=seed, **entries)
        self.attacks.append(Attack(name, group, recipe, start=start, reference=reference, family=family))
        return name

    def untargeted(self, size: str) -> str:
        return self.add(f"untargeted {size}", FULL, self.effort.steps, size)

    def targeted(self, size: str) -> str:
        names = list(self.segmenter.classes)
        target = PREFERRED_TARGET if PREFERRED_TARGET in names else names[0]
        return self.add(f"targeted {size}", FULL, self.effort.steps, size, objective="targeted", target=target)

    def graded(self, size: str, beta: float) -> str:
        start = f"untargeted {size}"
        return self.add(f"beta {beta:g} {size}", GRADED, self.effort.graded_steps, size, beta=beta, start=start)

    def adaptive(self, family: str, reference: str, size: str, **entries: Any) -> None:
        """Add an attack that starts from the patch that does the most without a defense, and learns to evade."""
        steps = self.effort.adaptive_steps
        self.add(family, ADAPTIVE, steps, size, start=reference, reference=reference, family=family, **entries)

    def converged(self, family: str, reference: str, size: str, **entries: Any) -> None:
        """Add an adaptive family twice: the second time from noise and another seed, and with double the steps."""
        self.adaptive(family, reference, size, **entries)
        name, steps = f"{family}, from noise", 2 * self.effort.adaptive_steps
        self.add(name, ADAPTIVE, steps, size, reference=reference, family=family, **entries)


def published_plan(segmenter: Segmenter) -> EvaluationPlan:
    """The published evaluation: three sizes, two objectives, graded strengths, six adaptive families, each twice."""
    builder = _Builder(segmenter, TrainingEffort(steps=120, graded_steps=40, adaptive_steps=50))
    for size in SIZES:
        builder.untargeted(size)
        builder.targeted(size)
    for size, beta in GRADES:
        builder.graded(size, beta)
    split = builder.add("untargeted split", FULL, builder.effort.steps, "small", patches=PARTS)
    for family in ("flag", "mask", "both", "overmask"):
        builder.converged(family, "untargeted large", "large", adaptive=family)
    builder.converged("split", split, "small", adaptive="both", patches=PARTS)
    builder.converged("decoys", split, "small", adaptive="mask", patches=PARTS, decoys=PARTS // 2)
    return EvaluationPlan("published", tuple(builder.attacks), attacked_frames=34, hard_frames=24)


def quick_plan(segmenter: Segmenter) -> EvaluationPlan:
    """A plan of a few minutes: three patches and few frames, too few to judge a defense by."""
    builder = _Builder(segmenter, TrainingEffort(steps=20, graded_steps=10, adaptive_steps=15))
    builder.untargeted("large")
    builder.graded("large", 0.5)
    builder.adaptive("both", "untargeted large", "large", adaptive="both")
    return EvaluationPlan(
        "quick", tuple(builder.attacks), learned_frames=30, test_frames=30, attacked_frames=12, hard_frames=5
    )


PLANS = {"published": published_plan, "quick": quick_plan}

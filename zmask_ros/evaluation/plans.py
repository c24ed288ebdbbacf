"""The plans that come with the package: the published one, and a quick look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zmask_ros.attacks import Recipe
from zmask_ros.evaluation.plan import ADAPTIVE, FULL, GRADED, SEEN, Attack, Plan


@dataclass(frozen=True)
class Effort:
    """What a plan's patches cost to train: Adam steps, and images a step."""

    steps: int
    graded_steps: int
    adaptive_steps: int
    batch: int = 4


SIZES = {"small": (72, 72), "medium": (108, 108), "large": (144, 144)}
"""Patch pixels, height and width, for an input of 360x480: 3, 7 and 12 % of the image at full scale."""
GRADES = (("medium", 0.5), ("medium", 0.7), ("medium", 0.9), ("large", 0.5), ("large", 0.7), ("large", 0.9))
"""Sizes and strengths of the graded patches; strength 1 is the attack of full strength."""
TARGET = "Tree"
PARTS = 4
FIRST_SEED = 9001
"""Seeds of the published patches count up from here."""


@dataclass
class _Builder:
    effort: Effort
    attacks: list[Attack] = field(default_factory=list)

    def add(self, name: str, group: str, steps: int, size: tuple[int, int], **entries: Any) -> str:
        links = {key: entries.pop(key) for key in ("reference", "family") if key in entries}
        seed = FIRST_SEED + len(self.attacks)
        recipe = Recipe(size=size, steps=steps, batch=self.effort.batch, eot=SEEN, seed=seed, **entries)
        self.attacks.append(Attack(name, group, recipe, **links))
        return name

    def plain(self, size: str, target: str | None = None) -> str:
        objective = "targeted" if target else "untargeted"
        return self.add(f"{objective} {size}", FULL, self.effort.steps, SIZES[size], objective=objective, target=target)

    def graded(self, size: str, beta: float) -> str:
        start = f"untargeted {size}"
        return self.add(f"beta {beta:g} {size}", GRADED, self.effort.graded_steps, SIZES[size], beta=beta, start=start)

    def adaptive(self, family: str, reference: str, size: tuple[int, int], doubled: bool, **entries: Any) -> None:
        links = {"reference": reference, "family": family}
        self.add(f"{family}", ADAPTIVE, self.effort.adaptive_steps, size, **links, **entries)
        if doubled:
            self.add(f"{family} again", ADAPTIVE, 2 * self.effort.adaptive_steps, size, **links, **entries)


def published_plan() -> Plan:
    """The published evaluation: three sizes, two objectives, graded strengths, six adaptive families trained twice."""
    builder = _Builder(Effort(steps=120, graded_steps=80, adaptive_steps=70))
    for size in SIZES:
        builder.plain(size)
        builder.plain(size, TARGET)
    for size, beta in GRADES:
        builder.graded(size, beta)
    builder.add("untargeted split", FULL, builder.effort.steps, SIZES["small"], patches=PARTS)
    _adaptive_families(builder, "untargeted large", SIZES["large"], "untargeted split", doubled=True)
    return Plan("published", tuple(builder.attacks))


def quick_plan() -> Plan:
    """A look in a few minutes: three small patches, few frames; too little to judge a defence by."""
    builder = _Builder(Effort(steps=25, graded_steps=15, adaptive_steps=20))
    builder.plain("large")
    builder.graded("large", 0.5)
    builder.adaptive("both", "untargeted large", SIZES["large"], doubled=False, adaptive="both")
    return Plan("quick", tuple(builder.attacks), learned_frames=40, test_frames=40, attacked_frames=16, hard_frames=8)


def _adaptive_families(builder: _Builder, single: str, size: tuple[int, int], split: str, doubled: bool) -> None:
    for family in ("flag", "mask", "both", "overmask"):
        builder.adaptive(family, single, size, doubled, adaptive=family)
    small = SIZES["small"]
    builder.adaptive("split", split, small, doubled, adaptive="both", patches=PARTS)
    builder.adaptive("decoys", split, small, doubled, adaptive="mask", patches=PARTS, decoys=PARTS // 2)


PLANS = {"published": published_plan, "quick": quick_plan}

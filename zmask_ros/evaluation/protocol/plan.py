"""What an evaluation does, as one value: its attacks, how patches are seen, its frames, and what is compared."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from zmask_ros.attacks import EotRanges, Recipe
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.baselines.registry import COMPARED
from zmask_ros.evaluation.protocol.benign_sets import HARD_SETS
from zmask_ros.validation import sentence

SEEN = EotRanges(
    scale=(0.75, 1.0),
    rotation_deg=(-5.0, 5.0),
    yaw_deg=(0.0, 0.0),
    brightness=(-0.05, 0.05),
    contrast=(0.9, 1.05),
    noise=(0.0, 0.01),
    blur=(0.0, 0.5),
)
"""How patches are seen in the test, and in training too: the attacker knows the test."""
FULL, GRADED, ADAPTIVE, GIVEN = GROUPS = ("full", "graded", "adaptive", "given")


@dataclass(frozen=True)
class Attack:
    """One patch, or several that act together.

    Attributes:
        name: Unique within a plan; also the name of its file.
        group: ``full``: an attack of full strength that does not know the defense; ``graded``: the same, weakened by
            ``beta``; ``adaptive``: knows the defense; ``given``: comes from a file.
        recipe: How it is optimized; None where it comes from a file.
        file: A patch that was made elsewhere.
        start: An attack of the plan whose patches this one starts from, which saves steps; None starts from noise.
        reference: For an adaptive attack, the attack of the plan that does the most to the undefended network with
            the same patches: the same attacker, had there been no defense.
        family: For an adaptive attack; several attacks of a family show whether it has converged.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    name: str
    group: str
    recipe: Recipe | None = None
    file: str | None = None
    start: str | None = None
    reference: str | None = None
    family: str | None = None


@dataclass(frozen=True)
class EvaluationPlan:
    """What an evaluation does.

    Attributes:
        name: The plan's name.
        attacks: The attacks, each after those that it refers to.
        learned_frames: At most so many frames of each part that is learned from.
        test_frames: At most so many clean frames of the test.
        attacked_frames: At most so many of the test frames are attacked.
        hard_frames: At most so many of the test frames become each benign-hard set.
        hard_sets: Names from `benign_sets.HARD_SETS`.
        compared: Names from `baselines.registry.COMPARED`; they do not run on adaptive attacks, which are not aimed at
            them.
        seen: Where and how patches are put into the test frames.
        false_alarm_rate: The rate that the baselines' thresholds are set for, as the profile's; 0..1, exclusive.
        seed: Seed of where patches are put and of the benign-hard sets; patches must be trained with other seeds.
        resampled: What intervals are drawn over: ``frame`` or ``drive``.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    name: str
    attacks: tuple[Attack, ...]
    learned_frames: int = 120
    test_frames: int = 101
    attacked_frames: int = 51
    hard_frames: int = 51
    hard_sets: tuple[str, ...] = HARD_SETS
    compared: tuple[str, ...] = tuple(COMPARED)
    seen: EotRanges = SEEN
    false_alarm_rate: float = 0.001
    seed: int = 1
    resampled: Literal["frame", "drive"] = "frame"

    def __post_init__(self) -> None:
        if strange := set(self.hard_sets) - set(HARD_SETS):
            raise ZmaskError(f"There is no benign-hard set '{min(strange)}': choose from {', '.join(HARD_SETS)}.")
        if unknown := set(self.compared) - set(COMPARED):
            raise ZmaskError(f"There is no defence '{min(unknown)}' to compare: choose from {', '.join(COMPARED)}.")
        known: set[str] = set()
        for attack in self.attacks:
            if attack.name in known:
                raise ZmaskError(f"The plan has two attacks named '{attack.name}': rename one.")
            if attack.group not in GROUPS or (attack.recipe is None) == (attack.file is None):
                raise ZmaskError(f"Attack '{attack.name}' needs a group ({', '.join(GROUPS)}) and a recipe or a file.")
            for other in (attack.start, attack.reference):
                if other is not None and other not in known:
                    raise ZmaskError(f"Attack '{attack.name}' refers to '{other}', which must come before it.")
            if attack.recipe is not None and attack.recipe.seed == self.seed:
                raise ZmaskError(f"Attack '{attack.name}' is trained with the test's seed {self.seed}: change one.")
            known.add(attack.name)

    @property
    def groups(self) -> dict[str, tuple[Attack, ...]]:
        """The attacks by group, without groups that have none."""
        members = {group: tuple(attack for attack in self.attacks if attack.group == group) for group in GROUPS}
        return {group: attacks for group, attacks in members.items() if attacks}

    @staticmethod
    def from_dict(entries: Any) -> EvaluationPlan:
        """The plan whose `asdict` is ``entries``; entries left out have their defaults.

        Raises:
            ZmaskError: An entry is unknown, missing or out of its range.
        """
        try:
            return TypeAdapter(EvaluationPlan).validate_python(entries)
        except ValidationError as error:
            raise ZmaskError(sentence(error, "The plan of an evaluation")) from error


def read_plan(path: Path) -> EvaluationPlan:
    """A plan from a JSON file, or the plan that a result was made by.

    Raises:
        ZmaskError: It cannot be read or is no plan.
    """
    try:
        entries = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ZmaskError(f"The plan {path} cannot be read: name 'published', 'quick' or a JSON file.") from error
    return EvaluationPlan.from_dict(entries.get("plan", entries) if isinstance(entries, dict) else entries)


def with_given_patches(plan: EvaluationPlan, files: tuple[Path, ...]) -> EvaluationPlan:
    """``plan`` with patches from files added to its attacks; a file of exact values names the picture of that name."""
    pictures = [path.with_suffix(".png") if path.suffix == ".safetensors" else path for path in files]
    return replace(plan, attacks=plan.attacks + tuple(Attack(path.stem, GIVEN, file=str(path)) for path in pictures))

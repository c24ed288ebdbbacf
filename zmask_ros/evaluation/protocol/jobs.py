"""What a plan comes to: units of work, each with all that its result depends on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.protocol.judges import BOUNDS, NONE, NamedProfile
from zmask_ros.evaluation.protocol.plan import ADAPTIVE, Attack, Plan
from zmask_ros.io.files import replace_file


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Attributes:
        name: unique within an evaluation; the file is named after it.
        decided_by: everything that the result depends on, JSON-ready.
    """

    name: str
    decided_by: dict[str, Any]

    @property
    def key(self) -> str:
        """SHA-256 of what decides the result, hexadecimal."""
        return hashlib.sha256(json.dumps(self.decided_by, sort_keys=True).encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """A name that any file system takes; short digests keep names apart that differ in other letters only."""
        plain = re.sub(r"[^a-z0-9.]+", "_", self.name.lower())
        return f"{plain}-{hashlib.sha256(self.name.encode()).hexdigest()[:6]}"


class UnitStore:
    """The results that are in ``folder``, which is made where it does not exist.

    Raises:
        ZmaskError: the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)

    def path(self, unit: Unit) -> Path:
        """Where the result of ``unit`` lies."""
        return self._folder / f"{unit.file_name}.json"

    def get(self, unit: Unit) -> Any:
        """The result of ``unit``; None where there is none, or one of something else."""
        try:
            kept = json.loads(self.path(unit).read_text())
        except (OSError, ValueError):
            return None
        return kept["result"] if isinstance(kept, dict) and kept.get("key") == unit.key else None

    def put(self, unit: Unit, result: Any) -> None:
        """Keep ``result``, which is JSON-ready."""
        content = {"key": unit.key, "name": unit.name, "decided_by": unit.decided_by, "result": result}
        replace_file(self.path(unit), json.dumps(content).encode())


def make_folder(folder: Path) -> None:
    """Make ``folder`` and those above it where they do not exist.

    Raises:
        ZmaskError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZmaskError(f"The folder {folder} cannot be made: {error.strerror}.") from error


CLEAN_SET = "clean"


def attack_set(attack: str) -> str:
    """The name of the set of frames under ``attack``."""
    return f"attack {attack}"


def hard_set(name: str) -> str:
    """The name of the set of frames of a benign-hard set."""
    return f"hard {name}"


@dataclass(frozen=True)
class Work:
    """A unit with what is needed to do it.

    Attributes:
        unit: names the result.
        frames: name of the set of frames that are judged; empty where a patch is trained.
        judge: by whom; empty likewise.
        attack: that is trained, or that the frames are under.
        hard: benign-hard set that the frames belong to.
    """

    unit: Unit
    frames: str = ""
    judge: str = ""
    attack: Attack | None = None
    hard: str | None = None

    @property
    def trains(self) -> bool:
        """Whether a patch is trained, and no frame judged."""
        return not self.judge


@dataclass(frozen=True)
class WorkList:
    """All units of a plan.

    Attributes:
        plan: what to do.
        profiles: of our defence; adaptive attacks and the compared defences take the first.
        subject: what every result depends on: network, frames, version.
    """

    plan: Plan
    profiles: tuple[NamedProfile, ...]
    subject: dict[str, Any]

    @property
    def defences(self) -> tuple[str, ...]:
        """Names of our profiles and of the compared defences."""
        return (*self.ours, *self.plan.compared)

    @property
    def ours(self) -> tuple[str, ...]:
        """Names of our profiles."""
        return tuple(profile.name for profile in self.profiles)

    def __iter__(self) -> Iterator[Work]:
        """All work, in the order in which it is done."""
        plan = self.plan
        for attack in plan.attacks:
            if attack.recipe is not None:
                yield Work(self.training(attack), attack=attack)
        for judge in (NONE, *self.defences):
            yield Work(self._judging(CLEAN_SET, judge, {"frames": plan.test_frames}), CLEAN_SET, judge)
        for attack in plan.attacks:
            frames = attack_set(attack.name)
            entry = {"patches": self._patch_key(attack), "seen": asdict(plan.seen), "frames": plan.attacked_frames}
            for judge in (*BOUNDS, *(self.ours if attack.group == ADAPTIVE else self.defences)):
                yield Work(self._judging(frames, judge, entry), frames, judge, attack=attack)
        for name in plan.hard_sets:
            entry = {"set": name, "frames": plan.hard_frames}
            for judge in (NONE, *self.defences):
                yield Work(self._judging(hard_set(name), judge, entry), hard_set(name), judge, hard=name)

    def training(self, attack: Attack) -> Unit:
        """The unit that trains the patches of ``attack``, which has a recipe."""
        assert attack.recipe is not None
        profile = self.profiles[0].digest if attack.recipe.knows_the_defense else None
        began = next((self._patch_key(other) for other in self.plan.attacks if other.name == attack.start), None)
        entry = {"recipe": asdict(attack.recipe), "profile": profile, "start": began}
        return Unit(f"patch {attack.name}", self.subject | entry)

    def _judging(self, frames: str, judge: str, entry: dict[str, Any]) -> Unit:
        own = {profile.name: profile.digest for profile in self.profiles}
        # The compared defences take layers and kernels of the first profile.
        first = None if judge in BOUNDS else self.profiles[0].digest
        who = {"judge": judge, "profile": own.get(judge, first), "false_alarm_rate": self.plan.false_alarm_rate}
        return Unit(f"{frames} by {judge}", self.subject | entry | who | {"seed": self.plan.seed})

    def _patch_key(self, attack: Attack) -> str:
        if attack.recipe is not None:
            return self.training(attack).key
        try:
            return hashlib.sha256(Path(attack.file or "").read_bytes()).hexdigest()
        except OSError as error:
            raise ZmaskError(f"The patch {attack.file} cannot be read: {error.strerror}.") from error

"""What a plan comes to: jobs, each with all that its result depends on, and the folder of their results."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from zmask_ros.attacks import Step
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.metrics.records import Record
from zmask_ros.evaluation.protocol.evaluators import BOUNDS, NONE, NamedProfile
from zmask_ros.evaluation.protocol.plan import ADAPTIVE, Attack, EvaluationPlan
from zmask_ros.io.files import replace_file

CLEAN_SET = "clean"


def attack_set(attack: str) -> str:
    """The name of the set of frames under ``attack``."""
    return f"attack {attack}"


def hard_set(name: str) -> str:
    """The name of the set of frames of a benign-hard set."""
    return f"hard {name}"


@dataclass(frozen=True)
class JobId:
    """What a job is called, and what its result depends on.

    Attributes:
        name: Unique within an evaluation; the file of its result is named after it.
        decided_by: Everything that the result depends on; it is written to JSON as it is.
    """

    name: str
    decided_by: Mapping[str, object]

    @property
    def key(self) -> str:
        """SHA-256 of what decides the result, hexadecimal."""
        return hashlib.sha256(json.dumps(self.decided_by, sort_keys=True).encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """A name for any file system; the short digest tells names apart that differ in other characters only."""
        plain = re.sub(r"[^a-z0-9.]+", "_", self.name.lower())
        return f"{plain}-{hashlib.sha256(self.name.encode()).hexdigest()[:6]}"


@dataclass(frozen=True)
class EvaluationJob:
    """One piece of work: an attack to train, or a set of frames to run an evaluator on.

    Attributes:
        id: Its name, and what its result depends on.
        frames: Name of the set of frames; empty where a patch is trained.
        evaluator: Name of the evaluator; empty likewise.
        attack: The attack that is trained, or that the frames are under.
        hard: The benign-hard set that the frames belong to.
    """

    id: JobId
    frames: str = ""
    evaluator: str = ""
    attack: Attack | None = None
    hard: str | None = None

    @property
    def trains(self) -> bool:
        """Whether a patch is trained, and no evaluator runs."""
        return not self.evaluator


@dataclass(frozen=True)
class Evaluated:
    """The result of an evaluator on a set of frames.

    Attributes:
        threshold: The score above which it flags a frame; None for an evaluator without one.
        records: One for each frame.
    """

    threshold: float | None
    records: tuple[Record, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary that `from_json` reads."""
        return {"threshold": self.threshold, "records": [record.to_json() for record in self.records]}

    @staticmethod
    def from_json(entries: Any) -> Evaluated:
        """The result that `to_json` wrote."""
        return Evaluated(entries["threshold"], tuple(Record.from_json(entry) for entry in entries["records"]))


@dataclass(frozen=True)
class Trained:
    """The result of training an attack: its steps. The patches lie in a file of their own."""

    history: tuple[Step, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """A JSON-ready list that `from_json` reads."""
        return [asdict(step) for step in self.history]

    @staticmethod
    def from_json(entries: Any) -> Trained:
        """The result that `to_json` wrote."""
        return Trained(tuple(Step(**entry) for entry in entries))


Result = TypeVar("Result", Evaluated, Trained)


class ResultStore:
    """The results of jobs in ``folder``, which is made where it does not exist.

    Raises:
        ZmaskError: The folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)

    def path(self, job: JobId) -> Path:
        """Where the result of ``job`` lies."""
        return self._folder / f"{job.file_name}.json"

    def has(self, job: JobId) -> bool:
        """Whether there is a result of ``job``, and not one that depends on something else."""
        return self._read(job) is not None

    def get(self, job: JobId, kind: type[Result]) -> Result:
        """The result of ``job``: `Evaluated`, or `Trained` where it trains.

        Raises:
            ZmaskError: There is none.
        """
        result = self._read(job)
        if result is None:
            raise ZmaskError(f"The result {self.path(job)} is gone: run the evaluation again.")
        return kind.from_json(result)

    def put(self, job: JobId, result: Evaluated | Trained) -> None:
        """Keep a result."""
        content = {"key": job.key, "name": job.name, "decided_by": job.decided_by, "result": result.to_json()}
        replace_file(self.path(job), json.dumps(content).encode())

    def _read(self, job: JobId) -> Any:
        try:
            kept = json.loads(self.path(job).read_text())
        except (OSError, ValueError):
            return None
        return kept["result"] if isinstance(kept, dict) and kept.get("key") == job.key else None


def make_folder(folder: Path) -> None:
    """Make ``folder`` and those above it where they do not exist.

    Raises:
        ZmaskError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZmaskError(f"The folder {folder} cannot be made: {error.strerror}.") from error


@dataclass(frozen=True)
class Subject:
    """What every result of an evaluation depends on.

    Attributes:
        segmenter: Digest of the network.
        frames: Digest of the frames.
        version: Version of the package.
    """

    segmenter: str
    frames: str
    version: str


@dataclass(frozen=True)
class JobList:
    """All jobs of a plan.

    Attributes:
        plan: What to do.
        profiles: Profiles of our defense; adaptive attacks and the compared baselines take the first.
        subject: What every result depends on.
    """

    plan: EvaluationPlan
    profiles: tuple[NamedProfile, ...]
    subject: Subject

    @property
    def ours(self) -> tuple[str, ...]:
        """Names of our profiles."""
        return tuple(profile.name for profile in self.profiles)

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of our profiles and of what they are compared with: the rows of the tables."""
        return (*self.ours, *self.plan.compared)

    def __iter__(self) -> Iterator[EvaluationJob]:
        """All jobs, in the order in which they are done."""
        plan = self.plan
        for attack in plan.attacks:
            if attack.recipe is not None:
                yield EvaluationJob(self.training(attack), attack=attack)
        for name in (NONE, *self.baselines):
            yield EvaluationJob(self._evaluating(CLEAN_SET, name, {"frames": plan.test_frames}), CLEAN_SET, name)
        for attack in plan.attacks:
            frames = attack_set(attack.name)
            entry = {"patches": self._patch_key(attack), "seen": asdict(plan.seen), "frames": plan.attacked_frames}
            for name in (*BOUNDS, *(self.ours if attack.group == ADAPTIVE else self.baselines)):
                yield EvaluationJob(self._evaluating(frames, name, entry), frames, name, attack=attack)
        for hard in plan.hard_sets:
            entry = {"set": hard, "frames": plan.hard_frames}
            for name in (NONE, *self.baselines):
                yield EvaluationJob(self._evaluating(hard_set(hard), name, entry), hard_set(hard), name, hard=hard)

    def training(self, attack: Attack) -> JobId:
        """The job that trains the patches of ``attack``, which has a recipe."""
        assert attack.recipe is not None
        profile = self.profiles[0].digest if attack.recipe.knows_the_defense else None
        start = next((self._patch_key(other) for other in self.plan.attacks if other.name == attack.start), None)
        entry = {"recipe": asdict(attack.recipe), "profile": profile, "start": start}
        return JobId(f"patch {attack.name}", asdict(self.subject) | entry)

    def _evaluating(self, frames: str, evaluator: str, entry: Mapping[str, object]) -> JobId:
        digests = {profile.name: profile.digest for profile in self.profiles}
        # The compared baselines take layers and kernels of the first profile.
        first = None if evaluator in BOUNDS else self.profiles[0].digest
        settings = {
            "judge": evaluator,
            "profile": digests.get(evaluator, first),
            "false_alarm_rate": self.plan.false_alarm_rate,
            "seed": self.plan.seed,
        }
        return JobId(f"{frames} by {evaluator}", {**asdict(self.subject), **entry, **settings})

    def _patch_key(self, attack: Attack) -> str:
        if attack.recipe is not None:
            return self.training(attack).key
        try:
            return hashlib.sha256(Path(attack.file or "").read_bytes()).hexdigest()
        except OSError as error:
            raise ZmaskError(f"The patch {attack.file} cannot be read: {error.strerror}.") from error

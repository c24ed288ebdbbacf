"""What a plan comes to: jobs, each with all that its result depends on, and the folder of their results."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from zmask_ros.attacks import Recipe, Step
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.metrics.records import Record
from zmask_ros.evaluation.protocol.evaluators import BOUNDS, NONE, NamedProfile
from zmask_ros.evaluation.protocol.plan import ADAPTIVE, Attack, EvaluationPlan
from zmask_ros.io.files import make_folder, replace_file

CLEAN_SET = "clean"


def attack_set(attack: str) -> str:
    """The name of the set of frames under ``attack``."""
    return f"attack {attack}"


def hard_set(name: str) -> str:
    """The name of the set of frames of a benign-hard set."""
    return f"hard {name}"


@dataclass(frozen=True)
class Job:
    """One piece of work.

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
class TrainingJob(Job):
    """An attack of the plan to train, by its recipe."""

    attack: Attack
    recipe: Recipe


@dataclass(frozen=True)
class EvaluationJob(Job):
    """A set of frames to run an evaluator on.

    Attributes:
        frames: Name of the set of frames.
        evaluator: Name of the evaluator.
        attack: The attack that the frames are under.
        hard: The benign-hard set that the frames belong to.
    """

    frames: str
    evaluator: str
    attack: Attack | None = None
    hard: str | None = None


@dataclass(frozen=True)
class Evaluated:
    """The result of an evaluator on a set of frames.

    Attributes:
        threshold: The score above which it flags a frame; None for an evaluator without one.
        records: One for each frame.
    """

    threshold: float | None
    records: tuple[Record, ...]


EVALUATED, TRAINED = TypeAdapter(Evaluated), TypeAdapter(tuple[Step, ...])
"""The two kinds of results: of an `EvaluationJob`, and of a `TrainingJob`, whose patches lie in a file of their own."""


class ResultStore:
    """The results of jobs in ``folder``, which is made where it does not exist.

    Raises:
        ZmaskError: The folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)

    def path(self, job: Job) -> Path:
        """Where the result of ``job`` lies."""
        return self._folder / f"{job.file_name}.json"

    def has(self, job: Job) -> bool:
        """Whether there is a result of ``job``, and not one that depends on something else."""
        return self._read(job) is not None

    def get(self, job: Job) -> Any:
        """The result of ``job`` as JSON has it: what `EVALUATED` or `TRAINED` reads.

        Raises:
            ZmaskError: There is none.
        """
        if (result := self._read(job)) is None:
            raise ZmaskError(f"The result {self.path(job)} is gone: run the evaluation again.")
        return result

    def put(self, job: Job, result: Evaluated | tuple[Step, ...]) -> None:
        """Keep a result."""
        content = {"key": job.key, "name": job.name, "decided_by": job.decided_by, "result": result}
        replace_file(self.path(job), json.dumps(content, default=asdict).encode())

    def _read(self, job: Job) -> Any:
        try:
            kept = json.loads(self.path(job).read_text())
        except (OSError, ValueError):
            return None
        return kept["result"] if isinstance(kept, dict) and kept.get("key") == job.key else None


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

    def __iter__(self) -> Iterator[TrainingJob | EvaluationJob]:
        """All jobs, in the order in which they are done."""
        plan = self.plan
        for attack in plan.attacks:
            if attack.recipe is not None:
                yield self.training(attack, attack.recipe)
        for name in (NONE, *self.baselines):
            yield self._evaluating(CLEAN_SET, name, {"count": plan.test_frames})
        for attack in plan.attacks:
            entry = {"patches": self._patch_key(attack), "seen": asdict(plan.seen), "count": plan.attacked_frames}
            for name in (*BOUNDS, *(self.ours if attack.group == ADAPTIVE else self.baselines)):
                yield self._evaluating(attack_set(attack.name), name, entry, attack=attack)
        for hard, name in itertools.product(plan.hard_sets, (NONE, *self.baselines)):
            yield self._evaluating(hard_set(hard), name, {"set": hard, "count": plan.hard_frames}, hard=hard)

    def training(self, attack: Attack, recipe: Recipe) -> TrainingJob:
        """The job that trains the patches of ``attack`` by its ``recipe``."""
        profile = self.profiles[0].digest if recipe.knows_the_defense else None
        start = next((self._patch_key(other) for other in self.plan.attacks if other.name == attack.start), None)
        decided_by = asdict(self.subject) | {"recipe": recipe.entries(), "profile": profile, "start": start}
        return TrainingJob(f"patch {attack.name}", decided_by, attack, recipe)

    def _evaluating(self, frames: str, evaluator: str, entry: Mapping[str, object], **of: Any) -> EvaluationJob:
        digests = {profile.name: profile.digest for profile in self.profiles}
        # The compared baselines take layers and kernels of the first profile.
        first = None if evaluator in BOUNDS else self.profiles[0].digest
        settings = {
            "judge": evaluator,
            "profile": digests.get(evaluator, first),
            "false_alarm_rate": self.plan.false_alarm_rate,
            "seed": self.plan.seed,
        }
        decided_by = {**asdict(self.subject), **entry, **settings}
        return EvaluationJob(f"{frames} by {evaluator}", decided_by, frames, evaluator, **of)

    def _patch_key(self, attack: Attack) -> str:
        if attack.recipe is not None:
            return self.training(attack, attack.recipe).key
        try:
            return hashlib.sha256(Path(attack.file or "").read_bytes()).hexdigest()
        except OSError as error:
            raise ZmaskError(f"The patch {attack.file} cannot be read: {error.strerror}.") from error

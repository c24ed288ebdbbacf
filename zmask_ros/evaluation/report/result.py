"""All that comes out of an evaluation as one value, as JSON, and as markdown."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import torch

from zmask_ros import __version__
from zmask_ros.attacks import Step
from zmask_ros.evaluation.protocol.evaluators import NamedProfile
from zmask_ros.evaluation.protocol.plan import EvaluationPlan
from zmask_ros.evaluation.protocol.runner import Evaluation, Results
from zmask_ros.evaluation.report.figures import Summary
from zmask_ros.evaluation.report.serialization import keyed, to_json
from zmask_ros.evaluation.report.summary import Summarizer
from zmask_ros.evaluation.report.tables import Table, all_tables
from zmask_ros.evaluation.report.targets import Target, check
from zmask_ros.io.markdown_tables import Marks

TABLES = Marks("<!-- tables: written by zmask evaluate --docs -->", "<!-- end of tables -->")
UNLABELED_NOTE = "These frames have no labels: the network's own clean prediction is taken for the truth."
SMALL_NOTE = "This is the quick plan: it shows that everything works, and is too small to judge a defence by."
ENOUGH_FRAMES = 1000
RATE_NOTE = (
    "The test has {frames} clean frames, so that a rate of false alarms below {least:.1%} cannot be told from "
    "none: TPR at FPR 0.1 % is the share found above every clean score."
)


@dataclass(frozen=True)
class MachineInfo:
    """Where an evaluation ran: torch's device, the processor's kind, CPU threads, and torch's version."""

    device: str
    machine: str
    threads: int
    torch: str


@dataclass(frozen=True)
class SegmenterInfo:
    """Name and weight digest of the network."""

    name: str
    digest: str


@dataclass(frozen=True)
class ProfileInfo:
    """A profile that was evaluated; ``fitted_on`` names its recordings."""

    name: str
    path: str
    digest: str
    threshold: float
    false_alarm_rate: float
    fitted_on: tuple[str, ...]

    @staticmethod
    def of(named: NamedProfile) -> ProfileInfo:
        """What is said of ``named``."""
        threshold, recordings = named.profile.detector.threshold, tuple(source.bag for source in named.profile.sources)
        return ProfileInfo(
            named.name, named.path, named.digest, threshold.value, threshold.false_alarm_rate, recordings
        )


@dataclass(frozen=True)
class FramesInfo:
    """Where frames come from, whether the test frames have labels, and the digest of all."""

    source: str
    labeled: bool = field(metadata=keyed("labelled"))
    digest: str


@dataclass(frozen=True)
class SeedsInfo:
    """The seed of the test, and the seed of each trained attack."""

    test: int
    training: Mapping[str, int]


@dataclass(frozen=True)
class SplitsInfo:
    """Which images, by part, which patches, by group, and which seeds were used for what; none is used for two."""

    images: Mapping[str, tuple[str, ...]]
    patches: Mapping[str, tuple[str, ...]]
    seeds: SeedsInfo


@dataclass(frozen=True)
class EvaluationResult:
    """Plan, splits, environment and all figures.

    Attributes:
        version: Version of the package.
        created: Date and time in UTC, ISO 8601.
        seconds: How long the run took, without what was finished before it.
        environment, segmenter, profiles, plan, frames, splits: What was evaluated, and how.
        notes: Sentences on how to take the figures.
        targets: By profile.
        summary: All figures.
        histories: The training steps of each attack.
    """

    version: str
    created: str
    seconds: float
    environment: MachineInfo
    segmenter: SegmenterInfo
    profiles: tuple[ProfileInfo, ...]
    plan: EvaluationPlan
    frames: FramesInfo
    splits: SplitsInfo
    notes: tuple[str, ...]
    targets: Mapping[str, tuple[Target, ...]] = field(metadata=keyed("aims"))
    summary: Summary
    histories: Mapping[str, tuple[Step, ...]]

    def to_json(self) -> dict[str, Any]:
        """All entries, JSON-ready."""
        result: dict[str, Any] = to_json(self)
        return result

    @property
    def tables(self) -> list[Table]:
        """All tables."""
        return all_tables(self.summary, self.targets, self.profiles[0].name)

    def markdown(self) -> str:
        """All tables, for documentation, with what they are of."""
        profiles = ", ".join(f"{profile.name} (threshold {profile.threshold:.4g})" for profile in self.profiles)
        head = (
            f"Plan `{self.plan.name}` on {self.frames.source}, segmenter "
            f"`{self.segmenter.name}` {self.segmenter.digest[:12]}, profiles: {profiles}."
        )
        return "\n\n".join([head, *self.notes, *(table.markdown() for table in self.tables)])


def result_of(evaluation: Evaluation, results: Results, seconds: float) -> EvaluationResult:
    """The result of an evaluation; ``seconds`` is how long the run took."""
    segmenter, parts, ours = evaluation.segmenter, evaluation.parts, evaluation.jobs.ours
    summary = Summarizer(evaluation.plan, results, ours).summary()
    return EvaluationResult(
        version=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        environment=MachineInfo(
            str(segmenter.device), platform.machine(), torch.get_num_threads(), str(torch.__version__)
        ),
        segmenter=SegmenterInfo(segmenter.name, segmenter.digest),
        profiles=tuple(ProfileInfo.of(named) for named in evaluation.evaluators.profiles),
        plan=evaluation.plan,
        frames=FramesInfo(parts.source, parts.labeled, parts.digest()),
        splits=_splits(evaluation),
        notes=_notes(evaluation),
        targets={name: check(summary, name) for name in ours},
        summary=summary,
        histories=results.histories,
    )


def _splits(evaluation: Evaluation) -> SplitsInfo:
    plan = evaluation.plan
    return SplitsInfo(
        images={name: tuple(scene.name for scene in scenes) for name, scenes in evaluation.parts.named.items()},
        patches={group: tuple(attack.name for attack in members) for group, members in plan.groups},
        seeds=SeedsInfo(plan.seed, {a.name: a.recipe.seed for a in plan.attacks if a.recipe is not None}),
    )


def _notes(evaluation: Evaluation) -> tuple[str, ...]:
    frames = len(evaluation.parts.test)
    notes = [] if evaluation.parts.labeled else [UNLABELED_NOTE]
    notes += [SMALL_NOTE] if evaluation.plan.name == "quick" else []
    notes += [RATE_NOTE.format(frames=frames, least=1 / frames)] if frames < ENOUGH_FRAMES else []
    return tuple(notes)

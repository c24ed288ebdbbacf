"""All that comes out of an evaluation as one value, as JSON, and as markdown."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timezone
from typing import Any

import torch

from zmask_ros import __version__
from zmask_ros.evaluation.protocol.runner import Evaluation, Results
from zmask_ros.evaluation.report.figures import RocFigures, Summary
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

JSON_KEYS = {"baselines": "defences"}
"""Fields that have another name in JSON."""


@dataclass(frozen=True)
class EvaluationResult:
    """All that comes out of an evaluation.

    Attributes:
        evaluation: What was evaluated, and how.
        results: What was measured.
        seconds: How long the run took, without what was finished before it.
        summary: All figures.
        targets: What each of our profiles should reach, and whether it did.
    """

    evaluation: Evaluation
    results: Results
    seconds: float
    summary: Summary
    targets: Mapping[str, tuple[Target, ...]]

    def to_json(self) -> dict[str, Any]:
        """Plan, splits, environment and all figures, JSON-ready."""
        segmenter, parts, plan = self.evaluation.segmenter, self.evaluation.parts, self.evaluation.plan
        entries: dict[str, Any] = {
            "version": __version__,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 1),
            "environment": {
                "device": str(segmenter.device),
                "machine": platform.machine(),
                "threads": torch.get_num_threads(),
                "torch": str(torch.__version__),
            },
            "segmenter": {"name": segmenter.name, "digest": segmenter.digest},
            "profiles": [
                {
                    "name": named.name,
                    "path": named.path,
                    "digest": named.digest,
                    "threshold": named.profile.detector.threshold.value,
                    "false_alarm_rate": named.profile.detector.threshold.false_alarm_rate,
                    "fitted_on": [source.bag for source in named.profile.sources],
                }
                for named in self.evaluation.bench.evaluators.profiles
            ],
            "plan": plan,
            "frames": {"source": parts.source, "labelled": parts.labeled, "digest": parts.digest()},
            "splits": {
                "images": {part: [scene.name for scene in scenes] for part, scenes in parts.named.items()},
                "patches": {group: [attack.name for attack in attacks] for group, attacks in plan.groups.items()},
                "seeds": {
                    "test": plan.seed,
                    "training": {a.name: a.recipe.seed for a in plan.attacks if a.recipe is not None},
                },
            },
            "notes": self.notes,
            "aims": self.targets,
            "summary": self.summary,
            "histories": self.results.histories,
        }
        return {name: to_json(entry) for name, entry in entries.items()}

    @property
    def notes(self) -> list[str]:
        """Sentences on how to take the figures."""
        frames = len(self.evaluation.parts.test)
        notes = [] if self.evaluation.parts.labeled else [UNLABELED_NOTE]
        notes += [SMALL_NOTE] if self.evaluation.plan.name.startswith("quick") else []
        return notes + ([RATE_NOTE.format(frames=frames, least=1 / frames)] if frames < ENOUGH_FRAMES else [])

    @property
    def tables(self) -> list[Table]:
        """All tables."""
        return all_tables(self.summary, self.targets, self.evaluation.jobs.ours[0])

    def markdown(self) -> str:
        """All tables, for documentation, with what they are of."""
        evaluation, segmenter = self.evaluation, self.evaluation.segmenter
        profiles = ", ".join(
            f"{named.name} (threshold {named.profile.detector.threshold.value:.4g})"
            for named in evaluation.bench.evaluators.profiles
        )
        head = (
            f"Plan `{evaluation.plan.name}` on {evaluation.parts.source}, segmenter "
            f"`{segmenter.name}` {segmenter.digest[:12]}, profiles: {profiles}."
        )
        return "\n\n".join([head, *self.notes, *(table.markdown() for table in self.tables)])


def result_of(evaluation: Evaluation, results: Results, seconds: float) -> EvaluationResult:
    """The result of an evaluation; ``seconds`` is how long the run took."""
    summary = Summarizer(evaluation.plan, results, evaluation.jobs.ours).summary()
    targets = {name: check(summary, name) for name in evaluation.jobs.ours}
    return EvaluationResult(evaluation, results, seconds, summary, targets)


def to_json(value: Any) -> Any:
    """``value`` as JSON writers take it; floats that are not finite, which JSON does not know, become None.

    Dataclasses become dictionaries; the entries of `RocFigures` stand among those of the dataclass that they are in.
    """
    if is_dataclass(value):
        value = {JSON_KEYS.get(own.name, own.name): getattr(value, own.name) for own in fields(value)}
    if isinstance(value, Mapping):
        entries: dict[Any, Any] = {}
        for key, entry in value.items():
            entries |= to_json(entry) if isinstance(entry, RocFigures) else {key: to_json(entry)}
        return entries
    if isinstance(value, list | tuple):
        return [to_json(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

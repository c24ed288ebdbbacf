"""All that comes out of an evaluation as one JSON-ready object, and where it is written."""

from __future__ import annotations

import json
import math
import platform
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from zmask_ros import __version__
from zmask_ros.evaluation.protocol.runner import Evaluation, Results
from zmask_ros.evaluation.report.html import html_report
from zmask_ros.evaluation.report.summary import Summariser
from zmask_ros.evaluation.report.tables import all_tables
from zmask_ros.evaluation.report.targets import check
from zmask_ros.io.files import replace_file
from zmask_ros.io.markdown_tables import Marks

JSON_NAME, HTML_NAME = "evaluation.json", "report.html"
TABLES = Marks("<!-- tables: written by zmask evaluate --docs -->", "<!-- end of tables -->")
UNLABELLED_NOTE = "These frames have no labels: the network's own clean prediction is taken for the truth."
SMALL_NOTE = "This is the quick plan: it shows that everything works, and is too small to judge a defence by."
ENOUGH_FRAMES = 1000
RATE_NOTE = (
    "The test has {frames} clean frames, so that a rate of false alarms below {least:.1%} cannot be told from "
    "none: TPR at FPR 0.1 % is the share found above every clean score."
)


def outcome(evaluation: Evaluation, results: Results, seconds: float) -> dict[str, Any]:
    """Plan, splits, environment and all figures; ``seconds`` is how long the run took, without what was there."""
    segmenter, parts, profiles = evaluation.segmenter, evaluation.parts, evaluation.judges.profiles
    summary = Summariser(evaluation.plan, results, evaluation.work.ours).summary()
    return {
        "version": __version__,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "environment": {
            "device": str(segmenter.device),
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
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
            for named in profiles
        ],
        "plan": evaluation.plan.to_dict(),
        "frames": {"source": parts.source, "labelled": parts.labelled, "digest": parts.digest()},
        "splits": splits(evaluation),
        "notes": _notes(evaluation),
        "aims": {name: check(summary, name) for name in evaluation.work.ours},
        "summary": summary,
        "histories": results.histories,
    }


def splits(evaluation: Evaluation) -> dict[str, Any]:
    """Which images, patches and seeds were used for what; each is in one split only, or the plan was refused."""
    plan = evaluation.plan
    return {
        "images": {name: [scene.name for scene in scenes] for name, scenes in evaluation.parts.named.items()},
        "patches": {group: [attack.name for attack in members] for group, members in plan.groups},
        "seeds": {
            "test": plan.seed,
            "training": {a.name: a.recipe.seed for a in plan.attacks if a.recipe is not None},
        },
    }


def write_outcome(evaluation: Evaluation, results: Results, result: dict[str, Any]) -> tuple[Path, Path]:
    """Write JSON and HTML into the evaluation's folder; their paths."""
    written = evaluation.folder / JSON_NAME, evaluation.folder / HTML_NAME
    replace_file(written[0], json.dumps(plain(result), indent=1).encode())
    replace_file(written[1], html_report(evaluation, results, result).encode())
    return written


def markdown(result: dict[str, Any]) -> str:
    """All tables, for documentation, with what they are of."""
    profiles = ", ".join(f"{p['name']} (threshold {p['threshold']:.4g})" for p in result["profiles"])
    head = (
        f"Plan `{result['plan']['name']}` on {result['frames']['source']}, segmenter "
        f"`{result['segmenter']['name']}` {result['segmenter']['digest'][:12]}, profiles: {profiles}."
    )
    return "\n\n".join([head, *result["notes"], *(table.markdown() for table in all_tables(result))])


def _notes(evaluation: Evaluation) -> list[str]:
    frames = len(evaluation.parts.test)
    notes = [] if evaluation.parts.labelled else [UNLABELLED_NOTE]
    notes += [SMALL_NOTE] if evaluation.plan.name == "quick" else []
    notes += [RATE_NOTE.format(frames=frames, least=1 / frames)] if frames < ENOUGH_FRAMES else []
    return notes


def plain(value: Any) -> Any:
    """JSON knows no NaN: what is not defined is null."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

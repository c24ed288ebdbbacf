"""The files of a result: JSON, and one HTML file that needs nothing else, with tables, plots and the worst frames."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from zmask_ros.evaluation.metrics.records import TestFrame
from zmask_ros.evaluation.protocol.evaluators import NONE, ORACLE
from zmask_ros.evaluation.protocol.jobs import attack_set
from zmask_ros.evaluation.protocol.plan import ADAPTIVE, FULL
from zmask_ros.evaluation.protocol.runner import Evaluation, Results
from zmask_ros.evaluation.report.figures import Summary
from zmask_ros.evaluation.report.plots import (
    attack_bars,
    family_bars,
    frontier_plot,
    hard_bars,
    roc_plot,
    score_plot,
    size_plot,
)
from zmask_ros.evaluation.report.result import EvaluationResult
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.files import replace_file
from zmask_ros.io.images.codec import encode_compressed
from zmask_ros.runtime.drawing import colorize, contact_sheet, overlay

WORST_FRAMES = 6
THUMBNAIL = (96, 96)


def write_result(result: EvaluationResult) -> tuple[Path, Path]:
    """Write JSON and HTML into the evaluation's folder, and give their paths."""
    folder = result.evaluation.folder
    written = folder / "evaluation.json", folder / "report.html"
    for path, text in zip(written, (json.dumps(result.to_json(), indent=1), html_report(result)), strict=True):
        replace_file(path, text.encode())
    return written


def html_report(result: EvaluationResult) -> str:
    """The report of a result."""
    loader, evaluation = FileSystemLoader(Path(__file__).parent), result.evaluation
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.jinja").render(
        title=f"Evaluation of {evaluation.segmenter.name}: plan {evaluation.plan.name}, {evaluation.parts.source}",
        notes=result.notes,
        tables=result.tables,
        plots=_plots(result),
        worst_frames=_data_url(worst_frames(evaluation, result.results), "jpeg"),
        patches={name: _data_url(_thumbnails(patches), "png") for name, patches in result.results.patches.items()},
    )


def worst_frames(evaluation: Evaluation, results: Results) -> np.ndarray:
    """Attacked frame, undefended and defended segmentation, and with the true mask; uint8 [h, w, 3]."""
    ours = evaluation.jobs.ours[0]
    worst: list[tuple[float, str, int]] = []
    chosen = evaluation.bench.chosen(evaluation.plan.attacked_frames)
    for attack in evaluation.plan.attacks:
        accuracies = results.records[attack_set(attack.name), ours].accuracies()
        if not np.isnan(accuracies).all():
            index = int(np.nanargmin(accuracies))
            worst.append((float(accuracies[index]), attack.name, chosen[index]))
    rows = []
    for accuracy, name, index in sorted(worst)[:WORST_FRAMES]:
        frame = evaluation.bench.frame(index, *evaluation.bench.attacked_image(index, results.patches[name]))
        rows.append((f"{name}\n{frame.name}\n{accuracy:.0%} right", _pictures(evaluation, frame)))
    return contact_sheet(rows, ("attacked", "undefended", "defended", "true mask"), 300)


def _pictures(evaluation: Evaluation, frame: TestFrame) -> list[np.ndarray | None]:
    ours = evaluation.jobs.ours[0]
    none, own, oracle = (evaluation.bench.evaluators.evaluator(name)(frame) for name in (NONE, ours, ORACLE))
    palette, threshold = evaluation.segmenter.palette, evaluation.bench.evaluators.baseline(ours).threshold
    state = FrameState.ATTACK if own.flagged else FrameState.CLEAN
    defended = overlay(frame.image, colorize(own.labels, palette), own.mask, own.score, threshold, state)
    return [frame.image, colorize(none.labels, palette), defended, colorize(oracle.labels, palette)]


def _plots(result: EvaluationResult) -> list[str]:
    summary, results, jobs = result.summary, result.results, result.evaluation.jobs
    groups = summary.groups.items()
    plots = [roc_plot(results, group.attacks, jobs.baselines, f"ROC: {title}") for title, group in groups]
    full, adaptive = ([a.name for a in summary.attacks if a.group == group][:2] for group in (FULL, ADAPTIVE))
    sized = [a for a in summary.attacks if a.group == FULL and a.patches == 1 and a.size is not None]
    for name in jobs.ours:
        plots.append(score_plot(results, [*full, *adaptive], name))
        if len({attack.size for attack in sized}) > 1:
            plots.append(size_plot(sized, name))
        plots.append(attack_bars(summary.attacks, name))
        if summary.families[name]:
            plots.append(family_bars(summary.families[name], name))
    if frontiers := _frontiers(summary, jobs.ours):
        plots.append(frontier_plot(frontiers, "Damage against alarms, attackers who know ours"))
    return [*plots, hard_bars(summary.hard, jobs.baselines)] if summary.hard else plots


def _frontiers(summary: Summary, ours: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """Share flagged and damage that remains of each adaptive attack, by our profile; empty without such attacks."""
    adaptive = [attack for attack in summary.attacks if attack.group == ADAPTIVE]
    found = {name: [(a.baselines[name].recall, a.clean - a.baselines[name].miou) for a in adaptive] for name in ours}
    return found if adaptive else {}


def _thumbnails(patches: np.ndarray) -> np.ndarray:
    return np.hstack([cv2.resize(patch[..., :3], THUMBNAIL, interpolation=cv2.INTER_AREA) for patch in patches])


def _data_url(image: np.ndarray, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(encode_compressed(image, kind, 88)).decode()}"

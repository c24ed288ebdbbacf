"""A result as one HTML file that needs nothing else: tables, plots, and pictures of the worst frames."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from zmask_ros.evaluation.protocol.evaluators import NONE, ORACLE
from zmask_ros.evaluation.protocol.jobs import attack_set
from zmask_ros.evaluation.protocol.plan import ADAPTIVE, FULL
from zmask_ros.evaluation.protocol.runner import Evaluation, Results
from zmask_ros.evaluation.report.figures import Summary
from zmask_ros.evaluation.report.plots import attack_bars, family_bars, hard_bars, roc_plot, score_plot, size_plot
from zmask_ros.evaluation.report.result import EvaluationResult
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.images.codec import encode_compressed
from zmask_ros.runtime.drawing import colorize, contact_sheet, overlay

WORST_FRAMES = 6
THUMBNAIL = 96


def html_report(evaluation: Evaluation, results: Results, result: EvaluationResult) -> str:
    """The report of a result."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(
        title=f"Evaluation of {result.segmenter.name}: plan {result.plan.name}, {result.frames.source}",
        notes=result.notes,
        tables=result.tables,
        plots=_plots(evaluation, results, result.summary),
        worst_frames=_data_url(worst_frames(evaluation, results), "jpeg"),
        patches={name: _data_url(_thumbnails(patches), "png") for name, patches in results.patches.items()},
    )


def worst_frames(evaluation: Evaluation, results: Results) -> np.ndarray:
    """Attacked frame, undefended and defended segmentation, and with the true mask; uint8 [h, w, 3]."""
    ours = evaluation.jobs.ours[0]
    worst: list[tuple[float, str, int]] = []
    chosen = evaluation.chosen(evaluation.plan.attacked_frames)
    for attack in evaluation.plan.attacks:
        accuracies = results.records[attack_set(attack.name), ours].accuracies()
        if not np.isnan(accuracies).all():
            index = int(np.nanargmin(accuracies))
            worst.append((float(accuracies[index]), attack.name, chosen[index]))
    rows = [_row(evaluation, results, *entry) for entry in sorted(worst)[:WORST_FRAMES]]
    return contact_sheet(rows, ("attacked", "undefended", "defended", "true mask"), 300)


def _row(
    evaluation: Evaluation, results: Results, accuracy: float, attack: str, index: int
) -> tuple[str, list[np.ndarray | None]]:
    image, hidden = evaluation.attacked_image(index, results.patches[attack])
    frame = next(evaluation.test_set.frames([index], lambda _: (image, hidden)))
    ours = evaluation.jobs.ours[0]
    none, own, oracle = (evaluation.evaluators.evaluator(name)(frame) for name in (NONE, ours, ORACLE))
    palette, threshold = evaluation.segmenter.palette, evaluation.evaluators.baseline(ours).threshold
    state = FrameState.ATTACK if own.flagged else FrameState.CLEAN
    pictures: list[np.ndarray | None] = [
        image,
        colorize(none.labels, palette),
        overlay(image, colorize(own.labels, palette), own.mask, own.score, threshold, state),
        colorize(oracle.labels, palette),
    ]
    return f"{attack}\n{frame.name}\n{accuracy:.0%} right", pictures


def _plots(evaluation: Evaluation, results: Results, summary: Summary) -> list[str]:
    baselines = evaluation.jobs.baselines
    plots = [roc_plot(results, group.attacks, baselines, f"ROC: {title}") for title, group in summary.groups.items()]
    full, adaptive = ([a.name for a in summary.attacks if a.group == group][:2] for group in (FULL, ADAPTIVE))
    sized = [a for a in summary.attacks if a.group == FULL and a.patches == 1 and a.size is not None]
    for name in evaluation.jobs.ours:
        plots.append(score_plot(results, [*full, *adaptive], name))
        if len({attack.size for attack in sized}) > 1:
            plots.append(size_plot(sized, name))
        plots.append(attack_bars(summary.attacks, name))
        if summary.families[name]:
            plots.append(family_bars(summary.families[name], name))
    if summary.hard:
        plots.append(hard_bars(summary.hard, baselines))
    return plots


def _thumbnails(patches: np.ndarray) -> np.ndarray:
    return np.hstack(
        [cv2.resize(patch[..., :3], (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA) for patch in patches]
    )


def _data_url(image: np.ndarray, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(encode_compressed(image, kind, 88)).decode()}"

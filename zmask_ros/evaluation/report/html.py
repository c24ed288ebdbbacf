"""A result as one HTML file that needs nothing else: tables, plots, and pictures of the worst frames."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from zmask_ros.evaluation.protocol.jobs import attack_set
from zmask_ros.evaluation.protocol.judges import NONE, ORACLE
from zmask_ros.evaluation.protocol.plan import ADAPTIVE, FULL
from zmask_ros.evaluation.protocol.runner import Evaluation, Results
from zmask_ros.evaluation.report.plots import attack_bars, family_bars, hard_bars, roc_plot, score_plot, size_plot
from zmask_ros.evaluation.report.tables import Table, all_tables
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.images.codec import encode_compressed
from zmask_ros.runtime.drawing import colorize, contact_sheet, overlay

WORST_FRAMES = 6
THUMBNAIL = 96
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1c1f23; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #d8dce0; }
table { border-collapse: collapse; font-size: 13px; } .wide { overflow-x: auto; }
td, th { padding: .25rem .6rem; border-bottom: 1px solid #e4e7ea; text-align: left; white-space: nowrap; }
svg, img { max-width: 100%; height: auto; } .plots { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; text-align: center; font-size: 12px; } .note { color: #555b61; }
"""


def html_report(evaluation: Evaluation, results: Results, result: dict[str, Any]) -> str:
    """The report of a result, as `outcome.outcome` put it together."""
    title = f"Evaluation of {result['segmenter']['name']}: plan {result['plan']['name']}, {result['frames']['source']}"
    parts = [
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>",
        f"<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>",
        *(f"<p class='note'>{html.escape(note)}</p>" for note in result["notes"]),
        *(_table(table) for table in all_tables(result)),
        "<h2>Plots</h2><div class='plots'>",
        *_plots(evaluation, results, result["summary"]),
        "</div><h2>Worst frames</h2>",
        "<p class='note'>The frames with the fewest right pixels under the defence, at most one of each attack.</p>",
        _picture(worst_frames(evaluation, results), "worst frames"),
        "<h2>Patches</h2><div class='plots'>",
        *(_patch(name, patches) for name, patches in results.patches.items()),
        "</div></body></html>",
    ]
    return "\n".join(parts)


def worst_frames(evaluation: Evaluation, results: Results) -> np.ndarray:
    """Attacked frame, undefended and defended segmentation, and with the true mask; uint8 [h, w, 3]."""
    ours = evaluation.work.ours[0]
    worst: list[tuple[float, str, int]] = []
    chosen = evaluation.chosen(evaluation.plan.attacked_frames)
    for attack in evaluation.plan.attacks:
        accuracies = results.columns[attack_set(attack.name), ours].accuracies()
        if not np.isnan(accuracies).all():
            index = int(np.nanargmin(accuracies))
            worst.append((float(accuracies[index]), attack.name, chosen[index]))
    rows = [_row(evaluation, results, *entry) for entry in sorted(worst)[:WORST_FRAMES]]
    return contact_sheet(rows, ("attacked", "undefended", "defended", "true mask"), 300)


def _row(
    evaluation: Evaluation, results: Results, accuracy: float, attack: str, index: int
) -> tuple[str, list[np.ndarray | None]]:
    image, hidden = evaluation.show(index, results.patches[attack])
    frame = next(evaluation.target.frames([index], lambda _: (image, hidden)))
    ours = evaluation.work.ours[0]
    verdicts = {name: evaluation.judges.judge(name)(frame) for name in (NONE, ours, ORACLE)}
    palette = evaluation.segmenter.palette
    threshold = evaluation.judges.defence(ours).threshold
    own = verdicts[ours]
    state = FrameState.ATTACK if own.flagged else FrameState.CLEAN
    pictures = [
        image,
        colorize(verdicts[NONE].labels, palette),
        overlay(image, colorize(own.labels, palette), own.mask, own.score, threshold, state),
        colorize(verdicts[ORACLE].labels, palette),
    ]
    return f"{attack}\n{frame.name}\n{accuracy:.0%} right", list(pictures)


def _plots(evaluation: Evaluation, results: Results, summary: dict[str, Any]) -> list[str]:
    defences, ours = evaluation.work.defences, evaluation.work.ours
    plots = [
        roc_plot(results, group["attacks"], defences, f"ROC: {title}") for title, group in summary["groups"].items()
    ]
    by_group = {group: [a["name"] for a in summary["attacks"] if a["group"] == group] for group in (FULL, ADAPTIVE)}
    sized = [a for a in summary["attacks"] if a["group"] == FULL and a["patches"] == 1 and a["size"] is not None]
    for name in ours:
        plots.append(score_plot(results, [*by_group[FULL][:2], *by_group[ADAPTIVE][:2]], name))
        if len({tuple(attack["size"]) for attack in sized}) > 1:
            plots.append(size_plot(sized, name))
        plots.append(attack_bars(summary["attacks"], name))
        if summary["families"][name]:
            plots.append(family_bars(summary["families"][name], name))
    if summary["hard"]:
        plots.append(hard_bars(summary["hard"], defences))
    return plots


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{_cells(row)}</tr>" for row in table.rows)
    note = f"<p class='note'>{html.escape(table.note)}</p>" if table.note else ""
    return f"<h2>{html.escape(table.title)}</h2>{note}<div class='wide'><table><tr>{head}</tr>{rows}</table></div>"


def _cells(row: Sequence[str]) -> str:
    return "".join(f"<td>{html.escape(cell).replace('**no**', '<b>no</b>')}</td>" for cell in row)


def _patch(name: str, patches: np.ndarray) -> str:
    side = [cv2.resize(patch[..., :3], (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA) for patch in patches]
    picture = _picture(np.hstack(side), name, "png")
    return f"<figure>{picture}<figcaption>{html.escape(name)}</figcaption></figure>"


def _picture(image: np.ndarray, title: str, kind: str = "jpeg") -> str:
    data = base64.b64encode(encode_compressed(image, kind, 88)).decode()
    return f"<img alt='{html.escape(title)}' src='data:image/{kind};base64,{data}'>"

"""The plots of a report, as SVG text: ROC, score over frames, mIoU against patch size, bars."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zmask_ros.evaluation.metrics.detection import roc
from zmask_ros.evaluation.metrics.records import Column
from zmask_ros.evaluation.protocol.jobs import CLEAN_SET, attack_set
from zmask_ros.evaluation.protocol.judges import CLEAN, ORACLE
from zmask_ros.evaluation.protocol.runner import Results

Figures = dict[str, Any]
COLOURS = ("#2e7d32", "#1565c0", "#ef6c00", "#6a1b9a", "#00838f", "#ad1457")
PLAIN, BAD, BEST = "#546e7a", "#c62828", "#9e9e9e"
LEAST_RATE = 1e-3


def roc_plot(results: Results, attacks: Sequence[str], defences: Sequence[str], title: str) -> str:
    """One curve a defence over all frames of ``attacks``; the rate of false alarms is logarithmic."""
    figure, axes = _figure(5.2, 3.8)
    for colour, name in zip(COLOURS, defences, strict=False):
        attacked = [_scores(results, attack_set(attack), name) for attack in attacks]
        curve = roc(_scores(results, CLEAN_SET, name), np.concatenate(attacked))
        rates = np.maximum(curve.false_positive_rate, LEAST_RATE)
        axes.step(rates, curve.true_positive_rate, where="post", color=colour, label=f"{name} ({curve.area:.3f})")
    axes.set(xscale="log", xlim=(LEAST_RATE, 1), ylim=(0, 1.02), xlabel="false-alarm rate", ylabel="attacks found")
    axes.set_title(title)
    axes.legend(title="area", fontsize=8, loc="lower right")
    return _svg(figure)


def score_plot(results: Results, attacks: Sequence[str], defence: str) -> str:
    """The score of every frame, clean and under some attacks, with the threshold."""
    figure, axes = _figure(7.4, 3.2)
    clean = results.columns[CLEAN_SET, defence]
    order = {record.name: index for index, record in enumerate(clean.records)}
    axes.plot(range(len(clean)), clean.scores, color=PLAIN, label="clean", linewidth=1.2)
    for colour, attack in zip(COLOURS[2:], attacks, strict=False):
        column = results.columns[attack_set(attack), defence]
        places = [order[record.name] for record in column.records]
        axes.plot(places, column.scores, "o", color=colour, markersize=3, label=attack)
    axes.axhline(results.thresholds[defence], color=BAD, linestyle="--", linewidth=1, label="threshold")
    axes.set(xlabel="frame", ylabel="score")
    axes.set_yscale("symlog", linthresh=max(results.thresholds[defence], 1e-6))
    axes.set_title(f"Score over frames: {defence}")
    axes.legend(fontsize=8, loc="upper right")
    return _svg(figure)


def size_plot(attacks: Sequence[Figures], defence: str) -> str:
    """MIoU against patch size, for the attacks of each objective that has several sizes."""
    figure, axes = _figure(5.2, 3.8)
    styles = dict(zip(sorted({str(attack["objective"]) for attack in attacks}), ("-", "--", ":"), strict=False))
    for objective, style in styles.items():
        members = sorted((a for a in attacks if a["objective"] == objective), key=lambda a: a["patch_share"])
        shares = [100 * attack["patch_share"] for attack in members]
        lines = {
            "defended": (COLOURS[0], [attack["defences"][defence]["miou"] for attack in members]),
            "attacked": (BAD, [attack["attacked"]["value"] for attack in members]),
            "oracle": (BEST, [attack["oracle"] for attack in members]),
        }
        for label, (colour, values) in lines.items():
            axes.plot(shares, values, style, marker="o", markersize=4, color=colour, label=f"{label}, {objective}")
    axes.set(xlabel="patch, % of the image", ylabel="mIoU outside the patch")
    axes.set_title(f"mIoU against patch size: {defence}")
    axes.legend(fontsize=7)
    return _svg(figure)


def attack_bars(attacks: Sequence[Figures], defence: str) -> str:
    """Clean, attacked, defended and oracle mIoU of every attack."""
    names = [attack["name"] for attack in attacks]
    bars = {
        CLEAN: (PLAIN, [attack["clean"] for attack in attacks]),
        "attacked": (BAD, [attack["attacked"]["value"] for attack in attacks]),
        "defended": (COLOURS[0], [attack["defences"][defence]["miou"] for attack in attacks]),
        ORACLE: (BEST, [attack["oracle"] for attack in attacks]),
    }
    return _bars(names, bars, "mIoU outside the patches", f"Attacks against {defence}")


def family_bars(families: Sequence[Figures], defence: str) -> str:
    """The damage of each adaptive family: without a defence to evade, and what remains under it."""
    worst = [row["worst"] for row in families]
    bars = {
        "no defence": (BAD, [run["damage_free"] for run in worst]),
        "same patch, no defence": (COLOURS[2], [run["damage_undefended"] for run in worst]),
        "defended": (COLOURS[0], [run["damage_defended"] for run in worst]),
    }
    return _bars([row["family"] for row in families], bars, "mIoU lost", f"Attackers who know {defence}")


def hard_bars(hard: Figures, defences: Sequence[str]) -> str:
    """False-alarm rates on the benign-hard sets."""
    bars = {
        name: (colour, [100 * row["defences"][name]["false_alarm_rate"]["value"] for row in hard.values()])
        for colour, name in zip(COLOURS, defences, strict=False)
    }
    return _bars(list(hard), bars, "false alarms, %", "Benign-hard sets")


def cost_plot(result: Figures) -> str:
    """How the cost of `zmask bench --sweep` grows: with the network's input, with the layers, and with the cameras."""
    figure = Figure(figsize=(10.0, 3.2), layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, kind, label in zip(panels, ("input_sizes", "layers"), ("network's input", "layers"), strict=False):
        for name, colour, title in (("clean", COLOURS[0], "analysed"), ("two_pass", COLOURS[2], "segmented twice")):
            values = [cost[name] for cost in result[kind].values()]
            axes.plot(list(result[kind]), values, marker="o", color=colour, label=title)
        axes.set(xlabel=label, ylabel="defended / plain", ylim=(1, None))
        axes.legend(fontsize=8)
    gains = {"1": 1.0} | result["batch_gain"]
    panels[2].plot(list(gains), list(gains.values()), marker="o", color=COLOURS[1])
    panels[2].set(xlabel="cameras in one batch", ylabel="frames a second / one by one", ylim=(0, None))
    for axes in panels:
        _bare(axes)
        axes.tick_params(labelsize=8)
    return _svg(figure)


def _scores(results: Results, frames: str, judge: str) -> np.ndarray:
    column: Column = results.columns[frames, judge]
    return column.scores


def _bars(names: Sequence[str], bars: dict[str, tuple[str, list[float]]], ylabel: str, title: str) -> str:
    figure, axes = _figure(max(6.0, 0.36 * len(names) * max(1, len(bars) / 2) + 1.5), 3.6)
    width = 0.8 / len(bars)
    places = np.arange(len(names))
    for number, (label, (colour, values)) in enumerate(bars.items()):
        axes.bar(places + (number - (len(bars) - 1) / 2) * width, values, width, color=colour, label=label)
    axes.set_xticks(places, names, rotation=40, ha="right", fontsize=8)
    axes.set(ylabel=ylabel)
    axes.set_title(title)
    axes.legend(fontsize=8, ncols=len(bars), loc="lower center", bbox_to_anchor=(0.5, 1.08), frameon=False)
    return _svg(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    _bare(axes)
    return figure, axes


def _bare(axes: Axes) -> None:
    """A faint grid, and no frame at the top and on the right."""
    axes.grid(True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # A fixed salt and no date: equal figures give equal files.
    with mpl.rc_context({"svg.hashsalt": "zmask", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]

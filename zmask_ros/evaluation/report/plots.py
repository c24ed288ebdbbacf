"""The plots of a report, as SVG text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zmask_ros.evaluation.metrics.detection import roc
from zmask_ros.evaluation.metrics.worst_case import frontier
from zmask_ros.evaluation.protocol.evaluators import CLEAN, ORACLE
from zmask_ros.evaluation.protocol.jobs import CLEAN_SET, attack_set
from zmask_ros.evaluation.protocol.runner import Results
from zmask_ros.evaluation.report.figures import AttackFigures, FamilyFigures, HardFigures

COLORS = ("#2e7d32", "#1565c0", "#ef6c00", "#6a1b9a", "#00838f", "#ad1457")
PLAIN, BAD, BEST = "#546e7a", "#c62828", "#9e9e9e"
LEAST_RATE = 1e-3


def roc_plot(results: Results, attacks: Sequence[str], baselines: Sequence[str], title: str) -> str:
    """One curve for each baseline over all frames of ``attacks``; the axis of false-alarm rates is logarithmic."""
    figure, axes = _figure(5.2, 3.8, title)
    for color, name in zip(COLORS, baselines, strict=False):
        attacked = [results.records[attack_set(attack), name].scores for attack in attacks]
        curve = roc(results.records[CLEAN_SET, name].scores, np.concatenate(attacked))
        rates = np.maximum(curve.false_positive_rate, LEAST_RATE)
        axes.step(rates, curve.true_positive_rate, where="post", color=color, label=f"{name} ({curve.area:.3f})")
    axes.set(xscale="log", xlim=(LEAST_RATE, 1), ylim=(0, 1.02), xlabel="false-alarm rate", ylabel="attacks found")
    axes.legend(title="area", fontsize=8, loc="lower right")
    return svg(figure)


def score_plot(results: Results, attacks: Sequence[str], baseline: str) -> str:
    """The score of every frame, clean and under some attacks, with the threshold."""
    figure, axes = _figure(7.4, 3.2, f"Score over frames: {baseline}", xlabel="frame", ylabel="score")
    clean = results.records[CLEAN_SET, baseline]
    order = {record.name: index for index, record in enumerate(clean.records)}
    axes.plot(range(len(clean)), clean.scores, color=PLAIN, label="clean", linewidth=1.2)
    for color, attack in zip(COLORS[2:], attacks, strict=False):
        attacked = results.records[attack_set(attack), baseline]
        places = [order[record.name] for record in attacked.records]
        axes.plot(places, attacked.scores, "o", color=color, markersize=3, label=attack)
    threshold = results.thresholds[baseline]
    axes.axhline(threshold, color=BAD, linestyle="--", linewidth=1, label="threshold")
    axes.set_yscale("symlog", linthresh=max(threshold, 1e-6))
    axes.legend(fontsize=8, loc="upper right")
    return svg(figure)


def size_plot(attacks: Sequence[AttackFigures], baseline: str) -> str:
    """MIoU against patch size, one set of lines for each objective."""
    figure, axes = _figure(5.2, 3.8, f"mIoU against patch size: {baseline}")
    styles = dict(zip(sorted({str(attack.objective) for attack in attacks}), ("-", "--", ":"), strict=False))
    for objective, style in styles.items():
        members = sorted((a for a in attacks if a.objective == objective), key=lambda a: a.patch_share)
        shares = [100 * attack.patch_share for attack in members]
        lines = {
            "defended": (COLORS[0], [attack.baselines[baseline].miou for attack in members]),
            "attacked": (BAD, [attack.attacked.value for attack in members]),
            "oracle": (BEST, [attack.oracle for attack in members]),
        }
        for label, (color, values) in lines.items():
            axes.plot(shares, values, style, marker="o", markersize=4, color=color, label=f"{label}, {objective}")
    axes.set(xlabel="patch, % of the image", ylabel="mIoU outside the patch")
    axes.legend(fontsize=7)
    return svg(figure)


def attack_bars(attacks: Sequence[AttackFigures], baseline: str) -> str:
    """Clean, attacked, defended and oracle mIoU of every attack."""
    bars = {
        CLEAN: (PLAIN, [attack.clean for attack in attacks]),
        "attacked": (BAD, [attack.attacked.value for attack in attacks]),
        "defended": (COLORS[0], [attack.baselines[baseline].miou for attack in attacks]),
        ORACLE: (BEST, [attack.oracle for attack in attacks]),
    }
    return _bars([attack.name for attack in attacks], bars, "mIoU outside the patches", f"Attacks against {baseline}")


def family_bars(families: Sequence[FamilyFigures], baseline: str) -> str:
    """The damage of each adaptive family: without a defense to evade, and what remains under it."""
    worst = [row.worst for row in families]
    bars = {
        "no defence": (BAD, [run.damage_free for run in worst]),
        "same patch, no defence": (COLORS[2], [run.damage_undefended for run in worst]),
        "defended": (COLORS[0], [run.damage_defended for run in worst]),
    }
    return _bars([row.family for row in families], bars, "mIoU lost", f"Attackers who know {baseline}")


def frontier_plot(attacks: Mapping[str, Sequence[tuple[float, float]]], title: str) -> str:
    """What damage attackers do for how many alarms: every attack is a point, and each defense has a curve above them.

    Args:
        attacks: By defense, the share of frames flagged, 0..1, and the damage that remains, of each attack.
        title: Of the plot.
    """
    figure, axes = _figure(5.2, 3.8, title, xlabel="frames flagged, %", ylabel="mIoU lost under the defence")
    for color, (name, points) in zip(COLORS, attacks.items(), strict=False):
        flagged, damage = zip(*points, strict=True)
        shares, most = frontier(flagged, damage)
        axes.plot([100 * share for share in flagged], damage, "o", color=color, markersize=3, alpha=0.6)
        axes.step([*(100 * shares), 100], [*most, most[-1]], where="post", color=color, label=name)
    axes.set(xlim=(-2, 102))
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    return svg(figure)


def hard_bars(hard: Mapping[str, HardFigures], baselines: Sequence[str]) -> str:
    """False-alarm rates on the benign-hard sets."""
    bars = {
        name: (color, [100 * row.baselines[name].false_alarm_rate.value for row in hard.values()])
        for color, name in zip(COLORS, baselines, strict=False)
    }
    return _bars(list(hard), bars, "false alarms, %", "Benign-hard sets")


def _bars(names: Sequence[str], bars: dict[str, tuple[str, list[float]]], ylabel: str, title: str) -> str:
    figure, axes = _figure(max(6.0, 0.36 * len(names) * max(1, len(bars) / 2) + 1.5), 3.6, title, ylabel=ylabel)
    width = 0.8 / len(bars)
    places = np.arange(len(names))
    for number, (label, (color, values)) in enumerate(bars.items()):
        axes.bar(places + (number - (len(bars) - 1) / 2) * width, values, width, color=color, label=label)
    axes.set_xticks(places, names, rotation=40, ha="right", fontsize=8)
    axes.legend(fontsize=8, ncols=len(bars), loc="lower center", bbox_to_anchor=(0.5, 1.08), frameon=False)
    return svg(figure)


def _figure(width: float, height: float, title: str, **labels: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot(title=title, **labels)
    bare(axes)
    return figure, axes


def bare(axes: Axes) -> None:
    """A faint grid, and no frame at the top and on the right."""
    axes.grid(True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def svg(figure: Figure) -> str:
    """A figure as SVG text; equal figures give equal texts."""
    buffer = io.StringIO()
    # A fixed salt and no date.
    with mpl.rc_context({"svg.hashsalt": "zmask", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "<svg" + buffer.getvalue().split("<svg", 1)[1]

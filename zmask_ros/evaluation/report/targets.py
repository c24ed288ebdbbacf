"""What the defense should reach, and whether it did: each target with its figure, whatever that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zmask_ros.evaluation.report.figures import COSTLY, FULL_STRENGTH, FamilyFigures, PooledFigures, Summary

RANDOM_SET = "random patch"
HARD_RATE, REMAINING = 0.01, 0.4
COLUMNS: dict[str, Callable[[PooledFigures], float]] = {
    "AUC": lambda figures: figures.roc.auc.value,
    "TPR at FPR 0.1 %": lambda figures: figures.roc.tpr_at_1_permille,
    "recovery": lambda figures: figures.recovery,
    "mask IoU": lambda figures: figures.mask_iou,
}
"""Columns of the comparison in which a higher figure is better."""


@dataclass(frozen=True)
class Target:
    """One target.

    Attributes:
        what: What is measured.
        wanted: What it should be, in words.
        value: What was measured; NaN where the plan does not measure it.
        reached: Whether that is good enough; a figure that is missing has not reached its target.
        note: More to say.
    """

    what: str
    wanted: str
    value: float
    reached: bool
    note: str = ""


def check(summary: Summary, name: str) -> tuple[Target, ...]:
    """All targets of our profile ``name``."""
    groups = {title: group.baselines[name] for title, group in summary.groups.items()}
    full, costly = groups.get(FULL_STRENGTH), groups.get(COSTLY)
    targets = [
        _at_least("AUC, patches of full strength together", full.roc.auc.value if full else math.nan, 0.999),
        _at_least("AUC, mean over attacks that cost enough", costly.mean_auc if costly else math.nan, 0.97),
        _at_least("TPR at FPR 0.1 %, full strength", full.roc.tpr_at_1_permille if full else math.nan, 0.98),
        _at_least("recovery, full strength", full.recovery if full else math.nan, 0.9),
        _at_most("mIoU lost on clean frames", summary.clean[name].miou_loss, 0.002),
    ]
    if RANDOM_SET in summary.hard:
        loss = summary.hard[RANDOM_SET].baselines[name].miou_loss
        targets.append(_at_most("mIoU lost beside random patches", loss, 0.01))
    return (*targets, _hard_sets(summary, name), _adaptive(summary.families[name]), _comparison(summary, name))


def _at_least(what: str, value: float, least: float) -> Target:
    return Target(what, f"at least {least:g}", value, value >= least)


def _at_most(what: str, value: float, most: float) -> Target:
    return Target(what, f"at most {most:g}", value, value <= most)


def _hard_sets(summary: Summary, name: str) -> Target:
    rates = {hard: figures.baselines[name].false_alarm_rate.value for hard, figures in summary.hard.items()}
    above = ", ".join(f"{hard} {rate:.0%}" for hard, rate in rates.items() if rate > HARD_RATE)
    highest = max(rates.values(), default=math.nan)
    return Target("false alarms, worst benign-hard set", "at most 1 % of each", highest, highest <= HARD_RATE, above)


def _adaptive(families: Sequence[FamilyFigures]) -> Target:
    ratios = {row.family: row.worst.ratio for row in families if not math.isnan(row.worst.ratio)}
    worst = max(ratios, key=lambda family: ratios[family], default="")
    ratio = ratios.get(worst, math.nan)
    what, wanted = "damage that remains, worst adaptive family", "at most 40 % of the same attacker's, undefended"
    return Target(what, wanted, ratio, ratio <= REMAINING, worst)


def _comparison(summary: Summary, name: str) -> Target:
    """In how many columns of the comparison no other baseline is better."""
    what, wanted = "columns in which no other defence is better", "all"
    if FULL_STRENGTH not in summary.groups:
        return Target(what, wanted, math.nan, False)
    baselines = summary.groups[FULL_STRENGTH].baselines
    better = {
        title: [other for other, own in baselines.items() if column(own) > column(baselines[name]) + 1e-9]
        for title, column in COLUMNS.items()
    }
    columns = sum(not others for others in better.values())
    note = ", ".join(f"{title}: {other}" for title, others in better.items() for other in others)
    return Target(what, wanted, columns, columns == len(COLUMNS), note)

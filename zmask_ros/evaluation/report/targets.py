"""What the defense should reach, and whether it did: each target with its figure, whatever that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from zmask_ros.evaluation.report.figures import COSTLY, FULL_STRENGTH, FamilyFigures, PooledFigures, Summary

FULL_AUC = 0.999
COSTLY_AUC = 0.97
FULL_TPR = 0.98
RECOVERY = 0.9
CLEAN_LOSS = 0.002
RANDOM_LOSS = 0.01
HARD_RATE = 0.01
REMAINING = 0.4
RANDOM_SET = "random patch"
COLUMNS: tuple[tuple[str, Callable[[PooledFigures], float]], ...] = (
    ("AUC", lambda figures: figures.roc.auc.value),
    ("TPR at FPR 0.1 %", lambda figures: figures.roc.tpr_at_1_permille),
    ("recovery", lambda figures: figures.recovery),
    ("mask IoU", lambda figures: figures.mask_iou),
)
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
    return tuple(_targets(summary, name))


def _targets(summary: Summary, name: str) -> Iterator[Target]:
    groups = {title: group.baselines[name] for title, group in summary.groups.items()}
    full, costly = groups.get(FULL_STRENGTH), groups.get(COSTLY)
    auc = full.roc.auc.value if full else math.nan
    yield _at_least("AUC, patches of full strength together", auc, FULL_AUC)
    yield _at_least("AUC, mean over attacks that cost enough", costly.mean_auc if costly else math.nan, COSTLY_AUC)
    yield _at_least("TPR at FPR 0.1 %, full strength", full.roc.tpr_at_1_permille if full else math.nan, FULL_TPR)
    yield _at_least("recovery, full strength", full.recovery if full else math.nan, RECOVERY)
    yield _at_most("mIoU lost on clean frames", summary.clean[name].miou_loss, CLEAN_LOSS)
    if RANDOM_SET in summary.hard:
        loss = summary.hard[RANDOM_SET].baselines[name].miou_loss
        yield _at_most("mIoU lost beside random patches", loss, RANDOM_LOSS)
    yield _hard_sets(summary, name)
    yield _adaptive(summary.families[name])
    yield _comparison(summary, name)


def _at_least(what: str, value: float, least: float) -> Target:
    return Target(what, f"at least {least:g}", value, value >= least)


def _at_most(what: str, value: float, most: float) -> Target:
    return Target(what, f"at most {most:g}", value, value <= most)


def _hard_sets(summary: Summary, name: str) -> Target:
    rates = {hard: figures.baselines[name].false_alarm_rate.value for hard, figures in summary.hard.items()}
    above = ", ".join(f"{hard} {rate:.0%}" for hard, rate in rates.items() if rate > HARD_RATE)
    highest = max(rates.values(), default=math.nan)
    what = "false alarms, worst benign-hard set"
    return Target(what, "at most 1 % of each", highest, highest <= HARD_RATE, above)


def _adaptive(families: Sequence[FamilyFigures]) -> Target:
    what, wanted = "damage that remains, worst adaptive family", "at most 40 % of the same attacker's, undefended"
    ratios = {row.family: row.worst.ratio for row in families if not math.isnan(row.worst.ratio)}
    if not ratios:
        return Target(what, wanted, math.nan, False)
    worst = max(ratios, key=lambda family: ratios[family])
    return Target(what, wanted, ratios[worst], ratios[worst] <= REMAINING, worst)


def _comparison(summary: Summary, name: str) -> Target:
    """In how many columns of the comparison no other baseline is better."""
    group = summary.groups.get(FULL_STRENGTH)
    what, wanted = "columns in which no other defence is better", "all"
    if group is None:
        return Target(what, wanted, math.nan, False)
    better = {
        title: [
            other
            for other, figures in group.baselines.items()
            if column(figures) > column(group.baselines[name]) + 1e-9
        ]
        for title, column in COLUMNS
    }
    columns = sum(not others for others in better.values())
    note = ", ".join(f"{title}: {other}" for title, others in better.items() for other in others)
    return Target(what, wanted, columns, columns == len(COLUMNS), note)

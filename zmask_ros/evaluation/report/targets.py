"""What the defence should reach, and whether it did: each aim with its figure, whatever it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

FULL_AUC = 0.999
COSTLY_AUC = 0.97
FULL_TPR = 0.98
RECOVERY = 0.9
CLEAN_LOSS = 0.002
RANDOM_LOSS = 0.01
HARD_RATE = 0.01
REMAINING = 0.4
RANDOM_SET = "random patch"
HIGHER_IS_BETTER = (
    ("auc", "AUC"),
    ("tpr_at_1_permille", "TPR at FPR 0.1 %"),
    ("recovery", "recovery"),
    ("mask_iou", "mask IoU"),
)


@dataclass(frozen=True)
class Aim:
    """One aim.

    Attributes:
        what: is measured.
        wanted: in words.
        value: what came out; NaN where the plan does not measure it.
        reached: whether that is good enough; a figure that is not there has not reached anything.
        note: more to say.
    """

    what: str
    wanted: str
    value: float
    reached: bool
    note: str = ""


def check(summary: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """All aims of the defence ``name``, JSON-ready."""
    return [asdict(aim) for aim in _aims(summary, name)]


def _aims(summary: dict[str, Any], name: str) -> Iterator[Aim]:
    groups = {title: group["defences"][name] for title, group in summary["groups"].items()}
    full, costly = groups.get("full strength"), groups.get("graded and full, costly")
    auc = full["auc"]["value"] if full else math.nan
    yield _at_least("AUC, patches of full strength together", auc, FULL_AUC)
    yield _at_least("AUC, mean over attacks that cost enough", costly["mean_auc"] if costly else math.nan, COSTLY_AUC)
    yield _at_least("TPR at FPR 0.1 %, full strength", full["tpr_at_1_permille"] if full else math.nan, FULL_TPR)
    yield _at_least("recovery, full strength", full["recovery"] if full else math.nan, RECOVERY)
    yield _at_most("mIoU lost on clean frames", summary["clean"][name]["miou_loss"], CLEAN_LOSS)
    if RANDOM_SET in summary["hard"]:
        loss = summary["hard"][RANDOM_SET]["defences"][name]["miou_loss"]
        yield _at_most("mIoU lost beside random patches", loss, RANDOM_LOSS)
    yield _hard_sets(summary, name)
    yield _adaptive(summary["families"][name])
    yield _beside_others(summary, name)


def _at_least(what: str, value: float, least: float) -> Aim:
    return Aim(what, f"at least {least:g}", value, value >= least)


def _at_most(what: str, value: float, most: float) -> Aim:
    return Aim(what, f"at most {most:g}", value, value <= most)


def _hard_sets(summary: dict[str, Any], name: str) -> Aim:
    rates = {hard: figures["defences"][name]["false_alarm_rate"]["value"] for hard, figures in summary["hard"].items()}
    above = [f"{hard} {rate:.0%}" for hard, rate in rates.items() if rate > HARD_RATE]
    highest = max(rates.values(), default=math.nan)
    return Aim(
        "false alarms, worst benign-hard set", "at most 1 % of each", highest, highest <= HARD_RATE, ", ".join(above)
    )


def _adaptive(families: list[dict[str, Any]]) -> Aim:
    what, wanted = "damage that remains, worst adaptive family", "at most 40 % of the same attacker's, undefended"
    ratios = {row["family"]: row["worst"]["ratio"] for row in families if not math.isnan(row["worst"]["ratio"])}
    if not ratios:
        return Aim(what, wanted, math.nan, False)
    worst = max(ratios, key=lambda family: ratios[family])
    return Aim(what, wanted, ratios[worst], ratios[worst] <= REMAINING, worst)


def _beside_others(summary: dict[str, Any], name: str) -> Aim:
    """In how many columns of the comparison no other defence is better."""
    group = summary["groups"].get("full strength")
    what, wanted = "columns in which no other defence is better", "all"
    if group is None:
        return Aim(what, wanted, math.nan, False)
    ours, beaten = group["defences"][name], []
    for key, title in HIGHER_IS_BETTER:
        for other, figures in group["defences"].items():
            if _plain(figures[key]) > _plain(ours[key]) + 1e-9:
                beaten.append(f"{title}: {other}")
    columns = len({entry.split(":")[0] for entry in beaten})
    return Aim(what, wanted, len(HIGHER_IS_BETTER) - columns, not beaten, ", ".join(beaten))


def _plain(figure: Any) -> float:
    return float(figure["value"] if isinstance(figure, dict) else figure)

"""The figures of a summary as tables: one form for the report, for the documentation and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zmask_ros.evaluation.metrics.intervals import Interval
from zmask_ros.evaluation.report.figures import FamilyFigures, GroupFigures, Summary
from zmask_ros.evaluation.report.targets import Target


@dataclass(frozen=True)
class Table:
    """A table: what it shows, its columns, and its cells as text."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Heading, note and table."""
        lines = [f"### {self.title}", "", *([self.note, ""] if self.note else [])]
        lines += [_line(self.columns), _line(["---"] * len(self.columns)), *(_line(row) for row in self.rows)]
        return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def number(value: float | None, digits: int = 3) -> str:
    """Rounded; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def figure(value: float | None) -> str:
    """Four significant digits; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.4g}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}%}"


def with_interval(interval: Interval, digits: int = 3) -> str:
    """``value (low to high)``."""
    span = f" ({number(interval.low, digits)} to {number(interval.high, digits)})"
    return number(interval.value, digits) + ("" if math.isnan(interval.low) else span)


def share_with_interval(interval: Interval) -> str:
    """As `with_interval`, in percent."""
    return f"{percent(interval.value)} ({percent(interval.low)} to {percent(interval.high)})"


def all_tables(summary: Summary, targets: Mapping[str, Sequence[Target]], first: str) -> list[Table]:
    """Every table of an evaluation; ``first`` is the profile that adaptive attacks know."""
    tables = [targets_table(targets), clean_table(summary)]
    tables += [group_table(title, group) for title, group in summary.groups.items()]
    tables.append(attack_table(summary, first))
    tables += [family_table(name, rows, first) for name, rows in summary.families.items() if rows]
    if summary.hard:
        tables.append(hard_table(summary))
    return tables


def targets_table(targets: Mapping[str, Sequence[Target]]) -> Table:
    """The targets of each profile."""
    rows = [
        (name, one.what, one.wanted, figure(one.value), "yes" if one.reached else "**no**", one.note)
        for name, checked in targets.items()
        for one in checked
    ]
    return Table("Aims", "", ("defence", "what", "aim", "measured", "reached", "note"), tuple(rows))


def clean_table(summary: Summary) -> Table:
    """Clean frames: what every baseline costs where there is nothing to find."""
    rows = [
        (
            name,
            number(row.miou, 4),
            number(row.miou_loss, 4),
            share_with_interval(row.false_alarm_rate),
            number(row.false_alarms_an_hour, 0),
            percent(row.masked),
        )
        for name, row in summary.clean.items()
    ]
    columns = ("defence", "mIoU", "mIoU lost", "false-alarm rate (95 %)", "false alarms an hour at 15 Hz", "masked")
    frames = max((row.frames for row in summary.clean.values()), default=0)
    return Table("Clean frames", f"{frames} frames.", columns, tuple(rows))


def group_table(title: str, group: GroupFigures) -> Table:
    """The baselines over several attacks."""
    rows = [
        (
            name,
            with_interval(row.roc.auc, 4),
            number(row.mean_auc, 4),
            percent(row.roc.tpr_at_1_percent),
            percent(row.roc.tpr_at_1_permille),
            percent(row.recall),
            number(row.recovery, 2),
            number(row.mask_iou, 2),
        )
        for name, row in group.baselines.items()
    ]
    columns = (
        *("defence", "AUC (95 %)", "mean AUC", "TPR at FPR 1 %", "TPR at FPR 0.1 %"),
        *("flagged", "recovery", "mask IoU"),
    )
    note = f"Over {len(group.attacks)} attacks: {', '.join(group.attacks)}."
    return Table(f"Defences: {title}", note, columns, tuple(rows))


def attack_table(summary: Summary, name: str) -> Table:
    """Each attack, and the baseline ``name`` against it."""
    rows = [
        (
            attack.name,
            percent(attack.patch_share),
            number(attack.clean),
            with_interval(attack.attacked),
            with_interval(own.miou_interval),
            number(attack.oracle),
            with_interval(own.recovery, 2),
            number(own.roc.auc.value, 4),
            percent(own.recall),
            percent(own.masked),
            number(own.mask_iou, 2),
            number(own.mask_recall, 2),
        )
        for attack in summary.attacks
        for own in (attack.baselines[name],)
    ]
    columns = (
        *("attack", "of the image", "clean", "attacked (95 %)", "defended (95 %)", "oracle", "recovery (95 %)"),
        *("AUC", "flagged", "masked", "mask IoU", "mask recall"),
    )
    note = "mIoU outside the patches."
    if worst := summary.worst_frames:
        plain, own_share = percent(worst["none"]), percent(worst[name])
        note += f" With every frame under its worst attack, {plain} of the pixels are right, defended {own_share}."
    return Table(f"Attacks against {name}", note, columns, tuple(rows))


def family_table(name: str, families: Sequence[FamilyFigures], known: str) -> Table:
    """Adaptive families that know the profile ``known``, against ``name``: every run, so that convergence shows."""
    rows = [
        (
            row.family,
            run.attack + (" (worst)" if run == row.worst else ""),
            str(run.steps),
            number(run.damage_free),
            number(run.damage_undefended),
            number(run.damage_defended),
            percent(run.ratio, 0),
            percent(run.flagged),
            percent(run.masked),
        )
        for row in families
        for run in row.runs
    ]
    columns = (
        *("family", "run", "steps", "same attacker, no defence", "same patch, no defence", "remains defended"),
        *("remains of the first", "flagged", "masked"),
    )
    note = "Damage is mIoU clean - attacked, outside the patches. Runs of a family differ in seed and steps."
    title = f"Attackers who know {name}" if name == known else f"{name}, against attackers who know {known}"
    return Table(title, note, columns, tuple(rows))


def hard_table(summary: Summary) -> Table:
    """False alarms on the benign-hard sets."""
    names = tuple(summary.clean)
    first = names[0]
    rows = [
        (
            title,
            str(row.frames),
            *(percent(row.baselines[name].false_alarm_rate.value) for name in names),
            percent(row.baselines[first].false_alarm_rate.high),
            percent(row.baselines[first].masked),
            number(row.baselines[first].miou_loss, 4),
        )
        for title, row in summary.hard.items()
    ]
    columns = ("set", "frames", *names, f"{first}: at most (95 %)", f"{first}: masked", f"{first}: mIoU lost")
    note = "Share of harmless frames that are flagged. The mIoU lost is against the undefended network on these frames."
    return Table("Benign-hard sets", note, columns, tuple(rows))

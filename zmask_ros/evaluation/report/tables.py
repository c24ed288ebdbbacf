"""The figures of a summary as tables: one form for the report, for the documentation and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zmask_ros.attacks.convergence import TOLERANCE
from zmask_ros.evaluation.metrics.intervals import Interval
from zmask_ros.evaluation.metrics.worst_case import WorstCase
from zmask_ros.evaluation.report.figures import FamilyFigures, GroupFigures, Summary
from zmask_ros.evaluation.report.targets import Target


@dataclass(frozen=True)
class Table:
    """A table: what it shows, its columns, and its cells as text."""

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    @staticmethod
    def of(title: str, note: str, rows: Sequence[Mapping[str, str]]) -> Table:
        """The table of at least one row, each given by its cells under the titles of their columns."""
        return Table(title, note, list(rows[0]), [list(row.values()) for row in rows])

    def markdown(self) -> str:
        """Heading, note and table."""
        note = [self.note, ""] if self.note else []
        return "\n".join([f"### {self.title}", "", *note, markdown_table(self.columns, self.rows)])


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def cell(value: float, form: str = ".3f") -> str:
    """A figure, formatted as Python's ``format`` has it; a dash where it is NaN."""
    return "-" if math.isnan(value) else format(value, form)


def percent(value: float) -> str:
    """A share as a percentage; a dash where it is NaN."""
    return cell(value, ".1%")


def with_interval(interval: Interval, form: str = ".3f") -> str:
    """``value (low to high)``."""
    span = "" if math.isnan(interval.low) else f" ({cell(interval.low, form)} to {cell(interval.high, form)})"
    return cell(interval.value, form) + span


def all_tables(summary: Summary, targets: Mapping[str, Sequence[Target]], first: str) -> list[Table]:
    """Every table of an evaluation; ``first`` is the profile that adaptive attacks know."""
    tables = [targets_table(targets), clean_table(summary)]
    tables += [group_table(title, group) for title, group in summary.groups.items()]
    tables.append(attack_table(summary, first))
    worst = summary.worst_case
    tables += [family_table(name, rows, first, worst[name]) for name, rows in summary.families.items() if rows]
    return [*tables, hard_table(summary)] if summary.hard else tables


def targets_table(targets: Mapping[str, Sequence[Target]]) -> Table:
    """The targets of each profile."""
    columns = ("defence", "what", "aim", "measured", "reached", "note")
    rows = [
        (name, one.what, one.wanted, cell(one.value, ".4g"), "yes" if one.reached else "**no**", one.note)
        for name, checked in targets.items()
        for one in checked
    ]
    return Table("Aims", "", columns, rows)


def clean_table(summary: Summary) -> Table:
    """Clean frames: what every baseline costs where there is nothing to find."""
    rows = [
        {
            "defence": name,
            "mIoU": cell(row.miou, ".4f"),
            "mIoU lost": cell(row.miou_loss, ".4f"),
            "false-alarm rate (95 %)": with_interval(row.false_alarm_rate, ".1%"),
            "false alarms an hour at 15 Hz": cell(row.false_alarms_an_hour, ".0f"),
            "masked": percent(row.masked),
        }
        for name, row in summary.clean.items()
    ]
    return Table.of("Clean frames", f"{max(row.frames for row in summary.clean.values())} frames.", rows)


def group_table(title: str, group: GroupFigures) -> Table:
    """The baselines over several attacks."""
    rows = [
        {
            "defence": name,
            "AUC (95 %)": with_interval(row.roc.auc, ".4f"),
            "mean AUC": cell(row.mean_auc, ".4f"),
            "TPR at FPR 1 %": percent(row.roc.tpr_at_1_percent),
            "TPR at FPR 0.1 %": percent(row.roc.tpr_at_1_permille),
            "flagged": percent(row.recall),
            "recovery": cell(row.recovery, ".2f"),
            "mask IoU": cell(row.mask_iou, ".2f"),
        }
        for name, row in group.baselines.items()
    ]
    note = f"Over {len(group.attacks)} attacks: {', '.join(group.attacks)}."
    return Table.of(f"Defences: {title}", note, rows)


def attack_table(summary: Summary, name: str) -> Table:
    """Each attack, and the baseline ``name`` against it."""
    rows = [
        (
            attack.name,
            percent(attack.patch_share),
            cell(attack.clean),
            with_interval(attack.attacked),
            with_interval(own.miou_interval),
            cell(attack.oracle),
            with_interval(own.recovery, ".2f"),
            cell(own.roc.auc.value, ".4f"),
            percent(own.recall),
            percent(own.masked),
            cell(own.mask_iou, ".2f"),
            cell(own.mask_recall, ".2f"),
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
    return Table(f"Attacks against {name}", note, columns, rows)


def family_table(name: str, families: Sequence[FamilyFigures], known: str, worst: WorstCase) -> Table:
    """Adaptive families that know the profile ``known``, against ``name``: every run, so that convergence shows.

    The first line is the worst case of all of them, frame by frame.
    """
    first = {
        "family": "**all**",
        "run": "**worst case of each frame**",
        **dict.fromkeys(("steps", "same attacker, no defence", "same patch, no defence"), ""),
        "remains defended": cell(worst.damage),
        "remains of the first": "",
        "flagged": percent(worst.flagged),
        "masked": percent(worst.masked),
        "last doubling": "",
    }
    rows = [
        {
            "family": row.family,
            "run": run.attack + (" (worst)" if run == row.worst else ""),
            "steps": str(run.steps),
            "same attacker, no defence": cell(run.damage_free),
            "same patch, no defence": cell(run.damage_undefended),
            "remains defended": cell(run.damage_defended),
            "remains of the first": cell(run.ratio, ".0%"),
            "flagged": percent(run.flagged),
            "masked": percent(run.masked),
            "last doubling": "" if run.change is None else doubling(run.change),
        }
        for row in families
        for run in row.runs
    ]
    note = (
        "Damage is mIoU clean - attacked, outside the patches. Runs of a family differ in seed and steps. In the worst "
        "case each frame meets the attack that gets most of it wrong, and counts as flagged, or masked, if it is under "
        "every attack."
    )
    title = f"Attackers who know {name}" if name == known else f"{name}, against attackers who know {known}"
    return Table.of(title, note, [first, *rows])


def doubling(change: float) -> str:
    """What doubling the steps of an attack changed, and whether it has converged."""
    return f"changed {change:.0%}: {'converged' if change < TOLERANCE else 'not converged'}"


def hard_table(summary: Summary) -> Table:
    """False alarms on the benign-hard sets; what more is told is of the first profile."""
    first = next(iter(summary.clean))
    rows = [
        {
            "set": title,
            "frames": str(row.frames),
            **{name: percent(own.false_alarm_rate.value) for name, own in row.baselines.items()},
            f"{first}: at most (95 %)": percent(row.baselines[first].false_alarm_rate.high),
            f"{first}: masked": percent(row.baselines[first].masked),
            f"{first}: mIoU lost": cell(row.baselines[first].miou_loss, ".4f"),
        }
        for title, row in summary.hard.items()
    ]
    note = "Share of harmless frames that are flagged. The mIoU lost is against the undefended network on these frames."
    return Table.of("Benign-hard sets", note, rows)

"""What commands print: progress on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from zmask_ros.progress import Advance

LINE_EVERY_S = 30.0
"""Between two lines of progress where there is no terminal, seconds."""
stdout = Console()
stderr = Console(stderr=True)


class _SpeedColumn(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} {self._unit}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def progress(description: str, unit: str, total: int | None) -> Iterator[Advance]:
    """A `zmask_ros.progress.Progress` on stderr, with speed and time left.

    A bar on a terminal; elsewhere, as in logs, a line every `LINE_EVERY_S` seconds.
    """
    if not stderr.is_terminal:
        yield _Lines(description, unit, total).advance
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _SpeedColumn(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=stderr) as bar:
        task = bar.add_task(description, total=total, note="")

        def advance(steps: float = 1, note: str = "") -> None:
            bar.advance(task, steps)
            if note:
                bar.update(task, note=note)

        yield advance


class _Lines:
    """Progress in a log: a line now and then."""

    def __init__(self, description: str, unit: str, total: int | None) -> None:
        self._description, self._unit, self._total = description, unit, total
        self._done, self._began = 0.0, time.monotonic()
        self._due = self._began + LINE_EVERY_S

    def advance(self, steps: float = 1, note: str = "") -> None:
        self._done += steps
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + LINE_EVERY_S
        speed = self._done / (now - self._began)
        total, left = "", ""
        if self._total is not None:
            total, left = f" of {self._total:.0f}", f", {(self._total - self._done) / speed / 60:.0f} min left"
        line = f"{self._description}: {self._done:.0f}{total}, {speed:.1f} {self._unit}/s{left} {note}"
        print(line.rstrip(), file=sys.stderr, flush=True)


def print_table(title: str, rows: dict[str, str]) -> None:
    """A two-column table on stdout; what looks like markup is printed as it is."""
    table = Table(title=escape(title), show_header=False, title_justify="left")
    for name, value in rows.items():
        table.add_row(escape(name), escape(value))
    stdout.print(table)


def figure(value: Any) -> str:
    """A figure of a table: four digits of a float, a dash for None."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_json(result: Any) -> None:
    """``result`` as JSON on stdout, for machines."""
    click.echo(json.dumps(result, indent=2))


def warn(sentence: str) -> None:
    """A warning on stderr; what looks like markup in it is printed as it is."""
    stderr.print(f"[yellow]Warning:[/yellow] {escape(sentence)}", highlight=False, soft_wrap=True)

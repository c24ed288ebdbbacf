"""What commands print: progress on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from zmask_ros.progress import SECONDS, Advance

LINE_EVERY_S = 30.0
"""Between two lines of progress where there is no terminal, seconds."""
_machines: ContextVar[TextIO | None] = ContextVar("machines", default=None)
stdout = Console()
stderr = Console(stderr=True)


class _SpeedColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        # Of seconds there is always one a second.
        told = task.speed and unit != SECONDS
        return Text(f"{task.speed:.1f} {unit}/s" if told else "", style="progress.data.speed")


class _TimeLeftColumn(TimeRemainingColumn):
    """By the speed of the last steps; of work that is measured by its time, what is left of that."""

    def render(self, task: Task) -> Text:
        if task.fields["unit"] != SECONDS or task.total is None:
            return super().render(task)
        return Text(str(timedelta(seconds=round(task.total - task.completed))), style="progress.remaining")


class _Bars(Progress):
    """Bars of which those that are measured by their time move by themselves."""

    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.tasks:
            if task.fields["unit"] == SECONDS:
                # Somebody who works for minutes says so afterwards.
                gone = task.fields["done"] + self.get_time() - task.fields["told"]
                task.completed = gone if task.total is None else min(gone, task.total)
        yield from super().get_renderables()


@contextmanager
def progress(description: str, unit: str, total: int | None) -> Iterator[Advance]:
    """A `zmask_ros.progress.Progress` on stderr, with speed and time left.

    A bar on a terminal, below that of the work that it is a part of; elsewhere, as in logs, a line every `LINE_EVERY_S`
    seconds.
    """
    if not stderr.is_terminal:
        yield _lines(description, unit, total)
        return
    with _shown_bars() as bars:
        task = bars.add_task(description, total=total, unit=unit, note="", done=0.0, told=bars.get_time())
        done = 0.0

        def advance(steps: float = 1, note: str = "") -> None:
            nonlocal done
            done += steps
            bars.update(task, completed=done, done=done, told=bars.get_time())
            if note:
                bars.update(task, note=note)

        try:
            yield advance
        finally:
            # The part of a whole makes place for the next one.
            if bars.tasks[0].id != task:
                bars.remove_task(task)


_bars: list[Progress] = []
"""What is shown now: at most one."""


@contextmanager
def _shown_bars() -> Iterator[Progress]:
    if _bars:
        yield _bars[0]
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _SpeedColumn(),
        _TimeLeftColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with _Bars(*columns, console=stderr) as bars:
        _bars.append(bars)
        try:
            yield bars
        finally:
            _bars.clear()


def _lines(description: str, unit: str, total: int | None) -> Advance:
    """Progress in a log: a line now and then."""
    done, began = 0.0, time.monotonic()
    due = began + LINE_EVERY_S

    def advance(steps: float = 1, note: str = "") -> None:
        nonlocal done, due
        done += steps
        now = time.monotonic()
        if now < due:
            return
        due = now + LINE_EVERY_S
        # There may be more seconds than this process has seen: those of an earlier one count as well.
        speed = 1.0 if unit == SECONDS else done / (now - began)
        pace = f" {SECONDS}" if unit == SECONDS else f", {speed:.1f} {unit}/s"
        of, left = ("", "") if total is None else (f" of {total:.0f}", f", {(total - done) / speed / 60:.0f} min left")
        if unit == SECONDS and total is not None and done > total:
            left = ", longer than asked for"
        line = f"{description}: {done:.0f}{of}{pace}{left} {note}"
        print(line.rstrip(), file=sys.stderr, flush=True)

    return advance


def print_table(title: str, rows: Mapping[str, object]) -> None:
    """A table of names and values on stdout."""
    print_rows(title, rows.items())


def print_rows(title: str | None, rows: Iterable[Sequence[object]], columns: Sequence[str] = ()) -> None:
    """A table on stdout, without a head where there are no ``columns``; what looks like markup is printed as it is."""
    table = Table(*columns, title=title and escape(title), show_header=bool(columns), title_justify="left")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    stdout.print(table)


def print_profile(profile: Path, rows: Mapping[str, object], as_json: bool) -> None:
    """What a command says of the profile that it wrote: a table, or JSON."""
    if as_json:
        print_json({**rows, "profile": str(profile)})
    else:
        print_table(f"Profile {profile}", rows)


def figure(value: Any) -> str:
    """A figure of a table: four digits of a float, a dash for None."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_json(result: Any) -> None:
    """``result`` as JSON on stdout, for machines."""
    click.echo(json.dumps(result, indent=2), file=_machines.get())


@contextmanager
def only_json_on_stdout() -> Iterator[None]:
    """Context manager in which all but `print_json` is printed on stderr: a user's network may print what it likes."""
    token = _machines.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _machines.reset(token)


def warn(sentence: str) -> None:
    """A warning on stderr; what looks like markup in it is printed as it is."""
    stderr.print(f"[yellow]Warning:[/yellow] {escape(sentence)}", highlight=False, soft_wrap=True)

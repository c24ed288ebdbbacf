"""How long work reports its progress, without knowing how it is shown: a bar on a terminal, a log, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

SECONDS = "seconds"
"""The unit of work that is measured by its time."""


class Advance(Protocol):
    """Counts steps that are done."""

    def __call__(self, steps: float = 1, note: str = "") -> None:
        """So many more ``steps`` are done; ``note`` is shown with the bar until the next one."""


class Progress(Protocol):
    """Begins a piece of work; `zmask_ros.cli.console.progress` shows it on a terminal."""

    def __call__(self, description: str, unit: str, total: int | None) -> AbstractContextManager[Advance]:
        """Steps of one ``unit`` from here to the end of the ``with``, ``total`` of them; None: nobody knows."""


def no_advance(steps: float = 1, note: str = "") -> None:
    """An `Advance` that shows nothing."""


@contextmanager
def silent(description: str, unit: str, total: int | None) -> Iterator[Advance]:
    """A `Progress` that shows nothing."""
    yield no_advance

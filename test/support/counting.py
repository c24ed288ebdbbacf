"""A progress that remembers what it was told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zmask_ros.progress import Advance


class CountedProgress:
    """A `Progress`; ``done`` holds the steps of each piece of work by its description, ``notes`` all notes in order."""

    def __init__(self) -> None:
        self.done: dict[str, float] = {}
        self.totals: dict[str, int | None] = {}
        self.notes: list[str] = []

    @contextmanager
    def __call__(self, description: str, unit: str, total: int | None) -> Iterator[Advance]:
        self.totals[description], self.done[description] = total, 0

        def advance(steps: float = 1, note: str = "") -> None:
            self.done[description] += steps
            self.notes.append(note)

        yield advance

"""How the work of a fleet went."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Skipped:
    """A bag, or another piece of the work, of which nothing was taken, and why."""

    bag: str
    reason: str


@dataclass(frozen=True)
class FleetTally:
    """How the work went.

    Attributes:
        workers: the most that worked at the same time.
        retried: how many tasks were given to another worker, since the first was lost.
        skipped: bags, or other pieces of the work, of which nothing was taken.
    """

    workers: int
    retried: int
    skipped: tuple[Skipped, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

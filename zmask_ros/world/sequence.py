"""Whether everything that was numbered has come."""

from __future__ import annotations


class SequenceCheck:
    """Counts the numbers that are missing between the first and the highest that have come, in any order."""

    def __init__(self) -> None:
        self._first = 0
        self._highest = 0
        self._came = 0
        self._sent = 0
        self._missing_before = 0

    def see(self, number: int, sent: int) -> None:
        """A number has come, when ``sent`` had been given out; where that is less than before, they began anew."""
        if sent < self._sent:
            self._missing_before = self.missing
            self._first = self._highest = self._came = 0
        self._sent = sent
        self._first = min(self._first or number, number)
        self._highest = max(self._highest, number)
        self._came += 1

    @property
    def missing(self) -> int:
        """How many have not come; those that are still on their way count."""
        expected = self._highest - self._first + 1 if self._came else 0
        return self._missing_before + expected - self._came

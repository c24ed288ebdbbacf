"""Of how many of the latest frames something is true: what tells a busy machine, or a profile that masks too much."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class RecentShare:
    """Remembers the answers of the last seconds.

    Args:
        window_s: for so many seconds.
        steady_s: the steady clock.
    """

    def __init__(self, window_s: float, steady_s: Callable[[], float] = time.monotonic) -> None:
        self._window_s = window_s
        self._steady_s = steady_s
        self._answers: deque[tuple[float, bool]] = deque()

    def add(self, answer: bool) -> None:
        """The answer of one more frame."""
        self._answers.append((self._steady_s(), answer))
        self._forget()

    @property
    def frames(self) -> int:
        """How many frames there were in the last seconds."""
        self._forget()
        return len(self._answers)

    @property
    def share(self) -> float:
        """Of the frames of the last seconds, those whose answer is yes, 0..1; NaN where there were none."""
        frames = self.frames
        return sum(answer for _, answer in self._answers) / frames if frames else float("nan")

    def _forget(self) -> None:
        oldest_s = self._steady_s() - self._window_s
        while self._answers and self._answers[0][0] < oldest_s:
            self._answers.popleft()

"""How many of the latest frames got a verdict: what tells that a machine is too busy for its camera."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 5.0


class VerdictShare:
    """Remembers the frames of the last seconds.

    Args:
        window_s: for so many seconds.
        steady_s: the steady clock.
    """

    def __init__(self, window_s: float = WINDOW_S, steady_s: Callable[[], float] = time.monotonic) -> None:
        self._window_s = window_s
        self._steady_s = steady_s
        self._frames: deque[tuple[float, bool]] = deque()

    def add(self, verdict: bool) -> None:
        """A frame is done with; whether it got a verdict, and was not dropped, or unknown for another reason."""
        self._frames.append((self._steady_s(), verdict))
        self._forget()

    @property
    def share(self) -> float:
        """Of the frames of the last seconds, those with a verdict, 0..1; NaN where there were none."""
        self._forget()
        if not self._frames:
            return float("nan")
        return sum(verdict for _, verdict in self._frames) / len(self._frames)

    def _forget(self) -> None:
        oldest_s = self._steady_s() - self._window_s
        while self._frames and self._frames[0][0] < oldest_s:
            self._frames.popleft()

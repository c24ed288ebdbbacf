"""Temporal vote: an attack is called when k of the last n frames were flagged. One object a camera holds the state."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

LONGEST_GAP_S = 1.0


@dataclass(frozen=True)
class VoteRule:
    """``needed`` of the last ``frames`` frames must be flagged, 1 <= needed <= frames; 1 of 1 is no vote.

    Raises:
        ValueError: the two are no such numbers.
    """

    needed: int = 1
    frames: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.needed <= self.frames:
            raise ValueError(f"{self.needed} of {self.frames} frames is no vote: 1 <= k <= n")

    def __str__(self) -> str:
        return f"{self.needed} of {self.frames}"


class Vote:
    """The vote over one camera's frames.

    A jump in time resets it: frames from before a bag was wound back, or from before a gap, do not count.

    Args:
        rule: how many frames of how many.
        longest_gap_s: a stamp more than this after the last one is a jump, in seconds.
    """

    def __init__(self, rule: VoteRule, longest_gap_s: float = LONGEST_GAP_S) -> None:
        self.rule = rule
        self._longest_gap_ns = round(longest_gap_s * 1e9)
        self._flags: deque[bool] = deque(maxlen=rule.frames)
        self._last_ns: int | None = None

    def add(self, flagged: bool, stamp_ns: int) -> bool:
        """Take the next frame's flag; whether an attack is called now.

        Frames that could not be analyzed have no flag and are not to be added: they are neither for nor against.

        Args:
            flagged: whether the frame's score is above the threshold.
            stamp_ns: time at which it was taken, in nanoseconds.
        """
        if self._last_ns is not None and not 0 <= stamp_ns - self._last_ns <= self._longest_gap_ns:
            self.reset()
        self._last_ns = stamp_ns
        self._flags.append(flagged)
        return sum(self._flags) >= self.rule.needed

    def reset(self) -> None:
        """Forget all frames."""
        self._flags.clear()
        self._last_ns = None

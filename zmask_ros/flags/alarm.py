"""The rule that raises a camera's alarm: a vote of its last frames, k of n; and when the alarm ends."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from zmask_ros.flags.flag import FrameState

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


@dataclass(frozen=True)
class AlarmRule:
    """When the alarm is raised and when it ends.

    Attributes:
        raised_by: how many flagged frames of how many raise it.
        off_frames: so many clean frames in a row have to follow before it ends, at least 1.
    """

    raised_by: VoteRule = field(default_factory=VoteRule)
    off_frames: int = 1


def alarm_rule(on_frames: int, off_frames: int, profile: VoteRule) -> AlarmRule:
    """``on_frames`` flagged frames in a row; where that is 0, the vote of the profile."""
    return AlarmRule(VoteRule(on_frames, on_frames) if on_frames else profile, off_frames)


class Alarm:
    """The alarm of one camera. It is unknown until a frame has been analyzed.

    Args:
        rule: when it is raised and ends.
        longest_gap_s: frames further apart than this, in seconds, do not count together.

    Attributes:
        state: UNKNOWN, CLEAN or ATTACK.
        since_ns: stamp of the frame with which it became what it is, in nanoseconds; 0 before the first.
        raised: how often it became ATTACK.
    """

    def __init__(self, rule: AlarmRule, longest_gap_s: float = LONGEST_GAP_S) -> None:
        self._longest_gap_s = longest_gap_s
        self.state = FrameState.UNKNOWN
        self.since_ns = 0
        self.raised = 0
        self.change(rule)

    def change(self, rule: AlarmRule) -> None:
        """Go on by another rule; the state stays until the next frame."""
        self._off_frames = rule.off_frames
        self._vote = Vote(rule.raised_by, self._longest_gap_s)
        self._clean_frames = 0

    def add(self, state: FrameState, stamp_ns: int) -> FrameState:
        """Take the next frame's state; the alarm's state after it. Unknown frames are neither for nor against."""
        if state is FrameState.UNKNOWN:
            return self.state
        flagged = state is FrameState.ATTACK
        raised = self._vote.add(flagged, stamp_ns)
        self._clean_frames = 0 if flagged else self._clean_frames + 1
        if raised:
            self._become(FrameState.ATTACK, stamp_ns)
        elif self.state is not FrameState.ATTACK or self._clean_frames >= self._off_frames:
            self._become(FrameState.CLEAN, stamp_ns)
        return self.state

    def reset(self, stamp_ns: int) -> None:
        """Forget all frames: time jumped, or no frame came for long."""
        self._vote.reset()
        self._clean_frames = 0
        self._become(FrameState.UNKNOWN, stamp_ns)

    def _become(self, state: FrameState, stamp_ns: int) -> None:
        if state is self.state:
            return
        self.raised += state is FrameState.ATTACK
        self.state, self.since_ns = state, stamp_ns

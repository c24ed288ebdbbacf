"""What is remembered of one camera from frame to frame, and how a frame changes it. Plain values: no network here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from zmask_ros.defense.streaming.replacement import Search
from zmask_ros.defense.streaming.tracking import Found, Track
from zmask_ros.flags.vote import LONGEST_GAP_S

ALERT_S = 3.0
"""For so long after an attack that no track accounts for, a glance is not enough."""


@dataclass(frozen=True)
class CameraState:
    """All that is remembered of one camera.

    Attributes:
        track: the patch that is known; None: the next frame is watched.
        keyframe_ns: time of the last keyframe, in nanoseconds; with a track, of the one that it was learned on. None:
            the next frame is one.
        last_ns: time of the last frame; None: there was none.
        flagged: whether the last frame was called an attack.
        wary_until_ns: until then a glance is not enough; None: it is.
    """

    track: Track | None = None
    keyframe_ns: int | None = None
    last_ns: int | None = None
    flagged: bool = False
    wary_until_ns: int | None = None


@dataclass(frozen=True)
class Lesson:
    """What is learned of an image that was masked: the track to go by, or None where there is none to go by."""

    track: Track | None


@dataclass(frozen=True)
class Judged:
    """What came of one image.

    Attributes:
        found: its patch, where it was found again and taken out.
        whole: whether the whole analysis saw it, and could say something.
        flagged: whether it is called an attack.
        lesson: None where the whole analysis masked nothing.
    """

    found: Found | None
    whole: bool
    flagged: bool
    lesson: Lesson | None


@dataclass(frozen=True)
class Incoming:
    """A frame of a camera that comes.

    Attributes:
        state: of the camera before it.
        stamp_ns: when it was taken, in nanoseconds.
        keyframe_interval_s: of the camera.
    """

    state: CameraState
    stamp_ns: int
    keyframe_interval_s: float

    @property
    def follows(self) -> bool:
        """Whether it comes soon after the camera's last frame."""
        # A camera that does not say when its frames were taken has only first frames: its keyframes would never be due.
        return self.state.last_ns is not None and 0 < self._elapsed_s <= LONGEST_GAP_S

    @property
    def goes_on(self) -> bool:
        """Whether it goes by what is known: not after a jump in time, and not where a keyframe is due."""
        keyframe_ns = self.state.keyframe_ns
        if not self.follows or keyframe_ns is None:
            return False
        return (self.stamp_ns - keyframe_ns) / 1e9 < self.keyframe_interval_s

    @property
    def search(self) -> Search | None:
        """What to look for in it."""
        track = self.state.track
        return Search(track, self._elapsed_s) if track is not None and self.goes_on else None

    @property
    def wary(self) -> bool:
        """Whether the whole analysis is to see it whatever is found: not long after what no track accounts for."""
        until_ns = self.state.wary_until_ns
        return until_ns is not None and self.stamp_ns < until_ns

    def glance(self, found: Found | None) -> bool:
        """Whether a glance may be enough: on a clean drive, and beside a patch that is found again.

        Args:
            found: what came of `search`.
        """
        if not self.goes_on or self.wary:
            return False
        # Right after a track was learned, the whole analysis says whether it leaves something out.
        return self.state.track is None or (found is not None and self.state.keyframe_ns != self.state.last_ns)

    def after(self, judged: Judged) -> CameraState:
        """The camera's state after it."""
        state = CameraState(None, self._keyframe_ns(judged), self.stamp_ns, judged.flagged, self._wary_until_ns(judged))
        if judged.lesson is not None:
            return replace(state, track=judged.lesson.track)
        return state if judged.found is None else replace(state, track=judged.found.track)

    def _keyframe_ns(self, judged: Judged) -> int | None:
        if judged.lesson is not None:
            # A second patch beside a known one: a track is learned for both, on the next frame.
            return self.stamp_ns if judged.found is None else None
        # An analysis that a glance asks for does not put the keyframe off: others could choose when it is asked for.
        return self.stamp_ns if judged.whole and not self.goes_on else self.state.keyframe_ns

    def _wary_until_ns(self, judged: Judged) -> int | None:
        earlier = self.state.wary_until_ns if self.follows and self.wary else None
        if judged.lesson is None:
            accounted_for = self.state.track is None or judged.found is not None
        else:
            accounted_for = judged.found is None and judged.lesson.track is not None
        if accounted_for:
            return earlier
        attack = judged.flagged or self.state.flagged
        until_ns = self.stamp_ns + round(1e9 * (ALERT_S if attack else min(ALERT_S, self.keyframe_interval_s)))
        return until_ns if earlier is None else max(until_ns, earlier)

    @property
    def _elapsed_s(self) -> float:
        return math.inf if self.state.last_ns is None else (self.stamp_ns - self.state.last_ns) / 1e9

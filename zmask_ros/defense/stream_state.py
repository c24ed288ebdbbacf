"""What is remembered of one camera from frame to frame, and how a frame changes it. Plain values: no network here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zmask_ros.defense.replacement import Search
from zmask_ros.defense.tracking import Found, Track
from zmask_ros.defense.vote import LONGEST_GAP_S

ALERT_S = 3.0
"""For so long after a frame was flagged a glance is not enough."""


@dataclass(frozen=True)
class StreamState:
    """All that is remembered of one camera.

    Attributes:
        track: the patch that is known; None: the next frame is watched.
        keyframe_ns: time of the frame that the track was learned on, in nanoseconds; without a track, of the last whole
            analysis.
        last_ns: time of the last frame; None: there was none.
        flagged_ns: time of the last frame that was flagged; None: none was, or longer ago than counts.
    """

    track: Track | None = None
    keyframe_ns: int = 0
    last_ns: int | None = None
    flagged_ns: int | None = None


@dataclass(frozen=True)
class Lesson:
    """What is learned of an image that was masked: the track to go by, or None where there is none to go by."""

    track: Track | None


@dataclass(frozen=True)
class Judged:
    """What came of one image.

    Attributes:
        found: its patch, where it was found again and taken out.
        whole: whether the whole analysis saw it.
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

    state: StreamState
    stamp_ns: int
    keyframe_interval_s: float

    @property
    def goes_on(self) -> bool:
        """Whether it goes by what is known: not after a jump in time, and not where a keyframe is due."""
        if self.state.last_ns is None:
            return False
        # A camera that does not say when its frames were taken does not go on: its keyframes would never be due.
        gap_s, age_s = (self.stamp_ns - self.state.last_ns) / 1e9, (self.stamp_ns - self.state.keyframe_ns) / 1e9
        return 0 < gap_s <= LONGEST_GAP_S and age_s < self.keyframe_interval_s

    @property
    def search(self) -> Search | None:
        """What to look for in it."""
        if self.state.track is None or self.state.last_ns is None or not self.goes_on:
            return None
        return Search(self.state.track, (self.stamp_ns - self.state.last_ns) / 1e9)

    @property
    def alert(self) -> bool:
        """Whether a frame was flagged not long before it."""
        flagged_ns = self.state.flagged_ns
        return flagged_ns is not None and 0 <= self.stamp_ns - flagged_ns < ALERT_S * 1e9

    def glance(self, found: Found | None) -> bool:
        """Whether a glance may be enough: on a clean drive, and beside a patch that is found again.

        Args:
            found: what came of `search`.
        """
        return self.goes_on and (found is not None if self.search is not None else not self.alert)

    def after(self, judged: Judged) -> StreamState:
        """The camera's state after it."""
        now = self.stamp_ns
        earlier = self.state.flagged_ns if self.alert else None
        state = StreamState(None, self.state.keyframe_ns, now, now if judged.flagged else earlier)
        if judged.lesson is not None:
            # A second patch beside a known one: the next frame is analysed as a whole, and a track learned for both.
            keyframe_ns = 0 if judged.found is not None else now
            return replace(state, track=judged.lesson.track, keyframe_ns=keyframe_ns)
        if judged.found is not None:
            return replace(state, track=judged.found.track)
        return replace(state, keyframe_ns=now) if judged.whole else state

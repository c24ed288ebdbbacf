"""What is remembered of one camera from frame to frame, and how a frame changes it; plain values and no network."""

from __future__ import annotations

import math
from dataclasses import dataclass

from zmask_ros.defense.streaming.tracking import PatchTrack, TrackedPatch, TrackSearch
from zmask_ros.flags.alarm import LONGEST_GAP_S

ALERT_S = 3.0
"""Seconds after an attack that no track accounts for, during which the screen is not enough."""


@dataclass(frozen=True)
class CameraState:
    """All that is remembered of one camera.

    Attributes:
        track: the patch that is known; None: nothing is looked for in the next frame.
        keyframe_ns: time of the last keyframe, in nanoseconds; with a track, of the one that it was learned on. None:
            the next frame is one.
        last_ns: time of the last frame, in nanoseconds; None: there was none.
        flagged: whether the last frame was called an attack.
        alert_until_ns: time until which the screen is not enough, in nanoseconds; None: it is enough.
    """

    track: PatchTrack | None = None
    keyframe_ns: int | None = None
    last_ns: int | None = None
    flagged: bool = False
    alert_until_ns: int | None = None


@dataclass(frozen=True)
class TrackUpdate:
    """What the masking of an image changes: the track to go by from now on; None: there is none to go by."""

    track: PatchTrack | None


@dataclass(frozen=True)
class FrameOutcome:
    """What came of one image.

    Attributes:
        tracked: its known patch, where it was found again and removed.
        fully_analyzed: whether the whole analysis saw it, and its score is a number.
        flagged: whether it is called an attack.
        track_update: None where the whole analysis masked nothing.
    """

    tracked: TrackedPatch | None
    fully_analyzed: bool
    flagged: bool
    track_update: TrackUpdate | None


@dataclass(frozen=True)
class IncomingFrame:
    """A new frame of a camera.

    Attributes:
        state: of the camera before it.
        stamp_ns: when it was taken, in nanoseconds.
        keyframe_interval_s: of the camera, in seconds.
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
    def between_keyframes(self) -> bool:
        """Whether what is known applies to it: not after a jump in time, and not where a keyframe is due."""
        keyframe_ns = self.state.keyframe_ns
        if not self.follows or keyframe_ns is None:
            return False
        return (self.stamp_ns - keyframe_ns) / 1e9 < self.keyframe_interval_s

    @property
    def search(self) -> TrackSearch | None:
        """The patch to look for in it; None: none is known that applies to it."""
        track = self.state.track
        return TrackSearch(track, self._elapsed_s) if track is not None and self.between_keyframes else None

    @property
    def alert(self) -> bool:
        """Whether it is fully analyzed whatever is found: it comes soon after an attack that no track accounts for."""
        until_ns = self.state.alert_until_ns
        return until_ns is not None and self.stamp_ns < until_ns

    def may_screen(self, tracked: TrackedPatch | None) -> bool:
        """Whether the screen may be enough: on a clean drive, and next to a patch that is found again.

        Args:
            tracked: what came of `search`.
        """
        if not self.between_keyframes or self.alert:
            return False
        # Right after a track was learned, the whole analysis says whether it leaves something out.
        return self.state.track is None or (tracked is not None and self.state.keyframe_ns != self.state.last_ns)

    def after(self, outcome: FrameOutcome) -> CameraState:
        """The camera's state after it."""
        if outcome.track_update is not None:
            track = outcome.track_update.track
        else:
            track = None if outcome.tracked is None else outcome.tracked.track
        return CameraState(
            track, self._keyframe_ns(outcome), self.stamp_ns, outcome.flagged, self._alert_until_ns(outcome)
        )

    def _keyframe_ns(self, outcome: FrameOutcome) -> int | None:
        if outcome.track_update is not None:
            # With a second patch next to a known one, a track for both is learned on the next frame.
            return self.stamp_ns if outcome.tracked is None else None
        # An analysis that the screen asks for does not postpone the keyframe: attackers could choose when it asks.
        return self.stamp_ns if outcome.fully_analyzed and not self.between_keyframes else self.state.keyframe_ns

    def _alert_until_ns(self, outcome: FrameOutcome) -> int | None:
        earlier = self.state.alert_until_ns if self.follows and self.alert else None
        if outcome.track_update is None:
            accounted_for = self.state.track is None or outcome.tracked is not None
        else:
            accounted_for = outcome.tracked is None and outcome.track_update.track is not None
        if accounted_for:
            return earlier
        attack = outcome.flagged or self.state.flagged
        until_ns = self.stamp_ns + round(1e9 * (ALERT_S if attack else min(ALERT_S, self.keyframe_interval_s)))
        return until_ns if earlier is None else max(until_ns, earlier)

    @property
    def _elapsed_s(self) -> float:
        return math.inf if self.state.last_ns is None else (self.stamp_ns - self.state.last_ns) / 1e9

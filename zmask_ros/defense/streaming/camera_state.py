"""What is remembered of one camera from frame to frame, and how a frame changes it; plain values and no network."""

from __future__ import annotations

import math
from dataclasses import dataclass

from zmask_ros.defense.streaming.sighting import Sighting
from zmask_ros.defense.streaming.tracking import PatchTrack, TrackedPatch, TrackSearch
from zmask_ros.flags.alarm import LONGEST_GAP_S

ALERT_S = 3.0
"""Seconds after an attack that is not seen any more, or not alone, during which the screen is not enough."""


@dataclass(frozen=True)
class CameraState:
    """All that is remembered of one camera.

    Attributes:
        sighting: the attack of the last frame; None: that frame was not called an attack.
        track: by which the patch of ``sighting`` can be found again; None: the next frame is analyzed as a whole.
        keyframe_ns: time of the last keyframe, in nanoseconds; with a track, of the one that it was learned on. None:
            the next frame is one.
        last_ns: time of the last frame, in nanoseconds; None: there was none.
        alert_until_ns: time until which the screen is not enough, in nanoseconds; None: it is enough.
    """

    sighting: Sighting | None = None
    track: PatchTrack | None = None
    keyframe_ns: int | None = None
    last_ns: int | None = None
    alert_until_ns: int | None = None


@dataclass(frozen=True)
class FrameOutcome:
    """What came of one image.

    Attributes:
        tracked: its known patch, where it was found again and removed.
        fully_analyzed: whether the whole analysis saw it, and its score is a number.
        masked: whether the whole analysis masked something, next to ``tracked`` if that was removed.
        sighting: the attack that the whole analysis of the untouched image sees; None where it sees none, or did not
            see the untouched image.
        track: that was learned of ``sighting``; None: there is none to go by.
    """

    tracked: TrackedPatch | None = None
    fully_analyzed: bool = False
    masked: bool = False
    sighting: Sighting | None = None
    track: PatchTrack | None = None


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
        return (self.stamp_ns - keyframe_ns) / 1e9 < self._keyframe_interval_s

    @property
    def earlier(self) -> Sighting | None:
        """The attack that it may show again; None: there is none that it follows."""
        return self.state.sighting if self.follows else None

    @property
    def search(self) -> TrackSearch | None:
        """The patch to look for in it; None: none is known that applies to it."""
        track = self.state.track
        return TrackSearch(track, self._elapsed_s) if track is not None and self.between_keyframes else None

    @property
    def alert(self) -> bool:
        """Whether it is fully analyzed whatever is found: it comes soon after an attack that is not seen any more."""
        until_ns = self.state.alert_until_ns
        return until_ns is not None and self.stamp_ns < until_ns

    def may_screen(self, tracked: TrackedPatch | None) -> bool:
        """Whether the screen may be enough: on a clean drive, and next to a patch that is found again.

        Args:
            tracked: what came of `search`.
        """
        if not self.between_keyframes or self.alert:
            return False
        if tracked is None:
            return self.state.sighting is None
        # Right after a track was learned, the whole analysis says whether it leaves something out.
        return self.state.keyframe_ns != self.state.last_ns

    def after(self, outcome: FrameOutcome) -> CameraState:
        """The camera's state after it."""
        sighting, track = outcome.sighting, outcome.track
        if outcome.tracked is not None and self.state.sighting is not None:
            sighting = self.state.sighting.moved(outcome.tracked.region)
            # With a second patch next to a known one, a track for both is learned on the next frame.
            track = None if outcome.masked else outcome.tracked.track
        return CameraState(
            sighting, track, self._keyframe_ns(outcome), self.stamp_ns, self._alert_until_ns(outcome, sighting)
        )

    def _keyframe_ns(self, outcome: FrameOutcome) -> int | None:
        if outcome.tracked is not None:
            return None if outcome.masked else self.state.keyframe_ns
        if outcome.track is not None:
            return self.stamp_ns
        # An analysis that the screen asks for does not postpone the keyframe: attackers could choose when it asks.
        return self.stamp_ns if outcome.fully_analyzed and not self.between_keyframes else self.state.keyframe_ns

    def _alert_until_ns(self, outcome: FrameOutcome, sighting: Sighting | None) -> int | None:
        earlier = self.state.alert_until_ns if self.follows and self.alert else None
        if outcome.tracked is not None:
            calm = not outcome.masked
        else:
            # The frame after one that is called an attack is fully analyzed in any case.
            calm = sighting is not None or (self.state.sighting is None and not outcome.masked)
        if calm:
            return earlier
        attack = sighting is not None or self.state.sighting is not None
        until_ns = self.stamp_ns + round(1e9 * (ALERT_S if attack else min(ALERT_S, self.keyframe_interval_s)))
        return until_ns if earlier is None else max(until_ns, earlier)

    @property
    def _elapsed_s(self) -> float:
        return math.inf if self.state.last_ns is None else (self.stamp_ns - self.state.last_ns) / 1e9

    @property
    def _keyframe_interval_s(self) -> float:
        """With a track, no longer than its attack was seen before."""
        if self.state.track is None or self.state.sighting is None:
            return self.keyframe_interval_s
        return min(self.keyframe_interval_s, self.state.sighting.trusted_s)

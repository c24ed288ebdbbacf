"""How flags are made: one builder for each camera, the same in the node and in `zmask replay`."""

from __future__ import annotations

from dataclasses import fields, replace

from zmask_ros.flags.alarm import LONGEST_GAP_S, Alarm, AlarmRule
from zmask_ros.flags.flag import Flag, FrameCounts, FrameState, FrameVerdict


class CameraFlags:
    """Numbers and counts the frames of one camera, keeps its alarm, and makes a flag of each frame's verdict.

    Not thread-safe: the caller ensures that flags leave in the order of their counts.

    Args:
        camera: name of the camera.
        rule: when its alarm is raised and ends.
        longest_gap_s: frames further apart than this, in seconds, do not count together for the alarm.

    Attributes:
        alarm: of the camera.
        counts: of its frames so far.
    """

    def __init__(self, camera: str, rule: AlarmRule, longest_gap_s: float = LONGEST_GAP_S) -> None:
        self._camera = camera
        self._last_stamp_ns: int | None = None
        self.alarm = Alarm(rule, longest_gap_s)
        self.counts = FrameCounts()

    def received(self) -> int:
        """Count a frame that has arrived; returns its number, from 1."""
        self.counts = replace(self.counts, received=self.counts.received + 1)
        return self.counts.received

    def jumped_back(self, stamp_ns: int) -> bool:
        """Take the stamp of a frame before the work on it; whether it lies before the last one, as in a bag's loop.

        Then the alarm is unknown until the next verdict.
        """
        jumped = self._last_stamp_ns is not None and stamp_ns < self._last_stamp_ns
        self._last_stamp_ns = stamp_ns
        if jumped:
            self.alarm.reset(stamp_ns)
        return jumped

    def flag(
        self,
        verdict: FrameVerdict,
        profile: str,
        sequence: int,
        stamp_ns: int,
        latency_ms: float,
        *,
        dropped: bool = False,
        heeded: bool = True,
    ) -> Flag:
        """The flag of a frame that is done with; the frame is counted as processed, dropped or failed.

        Args:
            verdict: what was said of it.
            profile: identity of the profile.
            sequence: its number, as `received` gave it.
            stamp_ns: its stamp in nanoseconds.
            latency_ms: milliseconds since it arrived.
            dropped: whether it is unknown because a newer one came first.
            heeded: whether it counts for the alarm.
        """
        known = verdict.state is not FrameState.UNKNOWN
        end = "processed" if known else "dropped" if dropped else "failed"
        self.counts = replace(self.counts, **{end: getattr(self.counts, end) + 1})
        if heeded:
            self.alarm.add(verdict.state, stamp_ns)
        return self._flag(verdict, profile, sequence, latency_ms)

    def silence(self, verdict: FrameVerdict, profile: str) -> Flag:
        """The flag about no frame, with sequence 0: none has come for long."""
        return self._flag(verdict, profile, 0, 0.0)

    def _flag(self, verdict: FrameVerdict, profile: str, sequence: int, latency_ms: float) -> Flag:
        return Flag(
            **{field.name: getattr(verdict, field.name) for field in fields(FrameVerdict)},
            camera=self._camera,
            alarm=self.alarm.state,
            profile=profile,
            sequence=sequence,
            latency_ms=latency_ms,
            counts=self.counts,
        )

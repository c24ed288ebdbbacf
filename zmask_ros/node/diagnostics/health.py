"""The health of a camera: what happened to its frames, and how bad that is. Pure Python: `publisher` sends it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum

from zmask_ros.flags.drift import Drift, DriftLevel, DriftLevels
from zmask_ros.flags.flag import Flag, FrameState
from zmask_ros.flags.precaution import WINDOW_S as PRECAUTION_S
from zmask_ros.flags.precaution import excess_advice
from zmask_ros.flags.recent_share import RecentShare
from zmask_ros.io.stamps import NANOSECONDS

REMEMBERED_FRAMES = 300
VERDICTS_S = 5.0
"""Seconds of which the share of frames with a verdict is taken."""


class Level(IntEnum):
    """As in diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Assessment:
    """One diagnostics task: its name, how bad it is, one sentence, and figures for people."""

    name: str
    level: Level
    message: str
    values: dict[str, str] = field(default_factory=dict)


@dataclass
class Counters:
    """What has happened to the frames of a camera, counted."""

    arrived: int = 0
    dropped: int = 0
    lost_in_transport: int = 0
    clean: int = 0
    attack: int = 0
    unknown: int = 0
    precaution: int = 0
    internal_errors: int = 0
    resets: int = 0
    tracked: int = 0
    analyzed: int = 0

    @property
    def flags(self) -> int:
        """Published flags of any state."""
        return self.clean + self.attack + self.unknown


@dataclass(frozen=True)
class Snapshot:
    """The state of a camera at one moment.

    Attributes:
        counters: since the start of the node.
        period: the same, since the snapshot before.
        rate_hz: arrivals per second since the snapshot before.
        age_s: seconds since the last arrival; None before the first.
        latencies_ms: of the last processed frames, arrival to flag, ascending.
        incompatible_qos: the policy because of which a publisher cannot be received; empty if there is none.
        last_flag: the last flag.
        last_error: the last internal error; empty if there was none.
        last_unknown: why the last frame was flagged UNKNOWN; empty if none was.
        stages_ms: median time of each stage of the last processed frames.
        verdict_share: of the frames of the last seconds, those with a verdict, 0..1; NaN where there were none.
        clean_lately: clean frames of the last minute.
        precaution_share: of these, those that were masked as a precaution, 0..1; NaN where there were none.
    """

    counters: Counters
    period: Counters
    rate_hz: float
    age_s: float | None
    latencies_ms: tuple[float, ...]
    incompatible_qos: str
    last_flag: Flag
    last_error: str = ""
    last_unknown: str = ""
    stages_ms: dict[str, float] = field(default_factory=dict)
    verdict_share: float = float("nan")
    clean_lately: int = 0
    precaution_share: float = float("nan")


class CameraHealth:
    """Collects what happens to the frames of one camera; its methods may be called from every thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters = Counters()
        self._latencies_ms: deque[float] = deque(maxlen=REMEMBERED_FRAMES)
        self._last_arrival_ns: int | None = None
        self._stages_ms: dict[str, deque[float]] = {}
        self._incompatible_qos = ""
        self._last_error = ""
        self._last_flag = Flag(FrameState.UNKNOWN, float("nan"), float("nan"), "no frame yet")
        self._last_unknown = ""
        self._verdicts = RecentShare(VERDICTS_S)
        self._precautions = RecentShare(PRECAUTION_S)
        self._before = Counters()
        self._before_ns = time.monotonic_ns()

    def arrived(self) -> None:
        """A message came in."""
        with self._lock:
            self._counters.arrived += 1
            self._incompatible_qos = ""
            self._last_arrival_ns = time.monotonic_ns()

    def lost(self, dropped: int = 0, in_transport: int = 0) -> None:
        """So many frames were displaced by newer ones, and the transport has lost so many messages."""
        with self._lock:
            self._counters.dropped += dropped
            self._counters.lost_in_transport += in_transport

    def qos_is_incompatible(self, policy: str) -> None:
        """A publisher cannot be received because of this policy."""
        with self._lock:
            self._incompatible_qos = policy

    def reset(self) -> None:
        """Time jumped back."""
        with self._lock:
            self._counters.resets += 1
            self._latencies_ms.clear()
            self._stages_ms.clear()

    def failed(self, error: str) -> None:
        """An exception that nobody expected, in one line."""
        with self._lock:
            self._counters.internal_errors += 1
            self._last_error = error

    def flagged(self, flag: Flag, tracked: bool = False, analyzed: bool = False) -> None:
        """A flag was published; whether its frame had a known patch, and whether it was analyzed as a whole."""
        with self._lock:
            self._counters.tracked += tracked
            self._counters.analyzed += analyzed
            key = flag.state.name.lower()
            setattr(self._counters, key, getattr(self._counters, key) + 1)
            self._last_flag = flag
            if flag.state is FrameState.CLEAN:
                masked = flag.mask_fraction > 0.0
                self._counters.precaution += masked
                self._precautions.add(masked)
            if flag.sequence:
                self._verdicts.add(flag.state is not FrameState.UNKNOWN)
            if flag.state is FrameState.UNKNOWN:
                self._last_unknown = flag.reason
            else:
                self._latencies_ms.append(flag.latency_ms)
                for stage, milliseconds in flag.stages_ms.items():
                    self._stages_ms.setdefault(stage, deque(maxlen=REMEMBERED_FRAMES)).append(milliseconds)

    @property
    def verdict_share(self) -> float:
        """Of the frames of the last seconds, those with a verdict, 0..1; NaN where there were none."""
        with self._lock:
            return self._verdicts.share

    def snapshot(self) -> Snapshot:
        """The state now; rates are those since the call before."""
        now_ns = time.monotonic_ns()
        with self._lock:
            counters, before = replace(self._counters), vars(self._before)
            period = Counters(**{name: count - before[name] for name, count in vars(counters).items()})
            seconds = max((now_ns - self._before_ns) / NANOSECONDS, 1e-9)
            self._before, self._before_ns = counters, now_ns
            return Snapshot(
                counters,
                period,
                period.arrived / seconds,
                None if self._last_arrival_ns is None else (now_ns - self._last_arrival_ns) / NANOSECONDS,
                tuple(sorted(self._latencies_ms)),
                self._incompatible_qos,
                self._last_flag,
                self._last_error,
                self._last_unknown,
                {stage: quantile(tuple(sorted(times)), 0.5) for stage, times in self._stages_ms.items()},
                self._verdicts.share,
                self._precautions.frames,
                self._precautions.share,
            )


def quantile(ascending: tuple[float, ...], share: float) -> float:
    """The value below which ``share`` of an ascending sequence lies (nearest rank); NaN when it is empty."""
    if not ascending:
        return float("nan")
    return ascending[min(int(share * len(ascending)), len(ascending) - 1)]


def assess_safely(name: str, assess: Callable[[], Assessment]) -> Assessment:
    """What ``assess`` says; when it fails, as on a GPU that does not answer, that is an error of its task alone."""
    try:
        return assess()
    except Exception as error:
        return Assessment(name, Level.ERROR, f"cannot be assessed: {type(error).__name__}: {error}")


def assess_input(camera: str, topic: str, publishers: int, stale_after_s: float, now: Snapshot) -> Assessment:
    """Whether frames come in, and all of them can be used."""
    level, message = Level.OK, f"{now.rate_hz:.1f} frames/s"
    if now.incompatible_qos and (now.age_s is None or now.age_s > stale_after_s):
        level = Level.ERROR
        message = f"no frames: a publisher of {topic} has an incompatible QoS policy ({now.incompatible_qos})"
    elif now.age_s is None:
        level = Level.WARN if publishers else Level.ERROR
        message = f"no frames yet on {topic}, which has {publishers or 'no'} publishers"
    elif now.age_s > stale_after_s:
        level, message = Level.ERROR, f"no frames on {topic} for {now.age_s:.1f} s"
    elif troubles := _input_troubles(now):
        level, message = Level.WARN, "; ".join(troubles)
    values = {
        "topic": topic,
        "publishers": str(publishers),
        "rate [frames/s]": f"{now.rate_hz:.2f}",
        "age of the last frame [s]": "none yet" if now.age_s is None else f"{now.age_s:.3f}",
        "frames": str(now.counters.arrived),
        "dropped for a newer frame": str(now.counters.dropped),
        "lost in transport": str(now.counters.lost_in_transport),
        "resets because time jumped back": str(now.counters.resets),
        "incompatible QoS": now.incompatible_qos or "no",
    }
    return Assessment(f"{camera} input", level, message, values)


def _input_troubles(now: Snapshot) -> list[str]:
    """What was wrong with the frames of the last period."""
    troubles = []
    if lost := now.period.lost_in_transport:
        troubles.append(f"{lost} frames were lost in the transport: does the camera's driver have the shared memory?")
    if unknown := now.period.unknown:
        troubles.append(f"{unknown} frames could not be used: {now.last_unknown or 'see the flags'}")
    elif now.last_flag.remark:
        troubles.append(now.last_flag.remark)
    return troubles


def assess_inference(
    camera: str, device: str, now: Snapshot, trouble: str = "", least_verdict_share: float = 0.0
) -> Assessment:
    """Whether the network runs, how fast, and whether that is fast enough for the camera.

    Args:
        trouble: what keeps frames from being processed; empty if nothing does.
        least_verdict_share: a smaller share of frames with a verdict is a warning.
    """
    median, high = quantile(now.latencies_ms, 0.5), quantile(now.latencies_ms, 0.99)
    level, message = Level.OK, f"{median:.0f} ms a frame"
    if trouble:
        level, message = Level.ERROR, trouble
    elif errors := now.period.internal_errors:
        level, message = Level.ERROR, f"{errors} internal errors in the last period: {now.last_error}"
    elif now.verdict_share < least_verdict_share:
        level = Level.WARN
        message = (
            f"{now.verdict_share:.0%} of the frames of the last {VERDICTS_S:g} s got a verdict, and "
            f"least_verdict_share is {least_verdict_share:.0%}: {now.last_unknown}"
        )
    elif not now.latencies_ms:
        message = "no frame processed yet"
    values = {
        "device": device,
        f"share of frames with a verdict, last {VERDICTS_S:g} s": f"{now.verdict_share:.3f}",
        "latency p50 [ms]": f"{median:.1f}",
        "latency p99 [ms]": f"{high:.1f}",
        **{f"{stage} p50 [ms]": f"{milliseconds:.2f}" for stage, milliseconds in now.stages_ms.items()},
        "internal errors since the start": str(now.counters.internal_errors),
        "last internal error": now.last_error or "none",
    }
    return Assessment(f"{camera} inference", level, message, values)


def assess_attack(camera: str, now: Snapshot) -> Assessment:
    """What the defense says of the frames of the last period."""
    level, message = Level.OK, "clean"
    if now.period.attack:
        level, message = Level.ERROR, f"adversarial region in {now.period.attack} frames of the last period"
    elif not now.period.flags:
        level, message = Level.STALE, "no flag in the last period"
    elif now.last_flag.state is FrameState.UNKNOWN:
        level, message = Level.WARN, f"unknown: {now.last_flag.reason}"
    values = {
        "state": now.last_flag.state.name,
        "score": f"{now.last_flag.score:.6g}",
        "threshold": f"{now.last_flag.threshold:.6g}",
        "clean frames": str(now.counters.clean),
        "attacked frames": str(now.counters.attack),
        "unknown frames": str(now.counters.unknown),
        "clean frames masked as a precaution": str(now.counters.precaution),
        "frames with a known patch, segmented once": str(now.counters.tracked),
        "frames analysed as a whole": str(now.counters.analyzed),
    }
    return Assessment(f"{camera} attack", level, message, values)


FIT_LEVELS = {
    # A profile that says nothing of itself is no fault of the camera.
    DriftLevel.UNKNOWN: Level.OK,
    DriftLevel.OK: Level.OK,
    DriftLevel.WARN: Level.WARN,
    DriftLevel.ERROR: Level.ERROR,
}


def assess_profile_fit(
    camera: str, drift: Drift, levels: DriftLevels, now: Snapshot, precaution_rate: float | None
) -> Assessment:
    """Whether what the camera sees is like the drives that its profile was fitted on.

    Args:
        precaution_rate: of clean frames, that the masking threshold in use was set for; None: it was set for none.
    """
    level, excess = (
        FIT_LEVELS[drift.level(levels)],
        excess_advice(now.precaution_share, now.clean_lately, precaution_rate),
    )
    message = drift.advice(levels)
    if excess:
        level, message = max(level, Level.WARN), f"{message}; {excess}" if level else excess
    values = {
        "distance (1: as held-out drives)": f"{drift.distance:.3f}",
        "warning above": f"{levels.warn:g}",
        "error above": f"{levels.error:g}",
        "layer furthest away": drift.furthest or "unknown",
        "frames observed": str(drift.frames),
        f"masked as a precaution, of the clean frames of the last {PRECAUTION_S:g} s": f"{now.precaution_share:.3f}",
        **{f"distance in {layer}": f"{distance:.3f}" for layer, distance in drift.layers.items()},
    }
    return Assessment(f"{camera} profile fit", level, message, values)

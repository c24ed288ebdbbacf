"""The flag of one camera frame, and what it consists of."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

PRECAUTION = "masked as a precaution: suspicious, but not called an attack"
WAIT_STAGE = "wait"
_BETWEEN_REASONS = "; "


class FrameState(IntEnum):
    """What is known of a frame; names and numbers are the constants of ``zmask_ros/AttackFlag``."""

    UNKNOWN = 0
    CLEAN = 1
    ATTACK = 2


@dataclass(frozen=True)
class Region:
    """A connected part of the mask.

    Attributes:
        x, y, width, height: the smallest rectangle around it, in pixels of the image.
        score: mean over-activation within it, at least 0.
        fraction: share of the image that it masks, 0..1.
    """

    x: int
    y: int
    width: int
    height: int
    score: float
    fraction: float


@dataclass(frozen=True)
class FrameCounts:
    """What became of a camera's frames: each that was received is in one of the others, or still in work.

    Attributes:
        received: frames that have arrived.
        processed: of those, frames with a verdict, be it that of the whole analysis or that of the screening alone.
        dropped: of those, frames that are unknown because a newer one came first.
        failed: of those, frames that are unknown for any other reason.
    """

    received: int = 0
    processed: int = 0
    dropped: int = 0
    failed: int = 0


V = TypeVar("V", bound="FrameVerdict")


@dataclass(frozen=True)
class FrameVerdict:
    """What the defense says of one frame.

    Attributes:
        state: UNKNOWN unless the frame was processed.
        threshold: the score above which a frame is called attacked.
        masking_threshold: the score above which a frame is masked, at most ``threshold``.
        reason: why the state is UNKNOWN, or why a frame is masked that is not attacked, and what limits what was seen
            in the image, such as darkness, in one sentence; else empty.
        score: s, at least 0; NaN if unknown.
        mask_fraction: share of the image that is masked, 0..1.
        regions: connected parts of the mask, the largest first; empty if nothing is masked.
        stages_ms: time of each stage of the work in milliseconds, in order.
    """

    state: FrameState
    threshold: float
    masking_threshold: float
    reason: str = ""
    score: float = math.nan
    mask_fraction: float = 0.0
    regions: tuple[Region, ...] = ()
    stages_ms: dict[str, float] = field(default_factory=dict)

    @property
    def remark(self) -> str:
        """What limits what was seen in a frame that has a verdict; the part of ``reason`` that says so, or nothing."""
        if self.state is FrameState.UNKNOWN:
            return ""
        return self.reason.removeprefix(PRECAUTION).removeprefix(_BETWEEN_REASONS)

    def after_waiting(self: V, milliseconds: float) -> V:
        """The same, with the time between the arrival and the beginning of the work as the first stage."""
        return replace(self, stages_ms={WAIT_STAGE: milliseconds, **self.stages_ms})


@dataclass(frozen=True)
class Flag(FrameVerdict):
    """A frame's verdict with what is known of its camera; `zmask_ros.flags.camera_flags.CameraFlags` makes it.

    Attributes:
        camera: name of the camera.
        alarm: of the camera, over several frames, this one included.
        profile: identity of the profile.
        sequence: number of the frame among those received, from 1; 0: the flag is about no frame.
        latency_ms: milliseconds from the frame's arrival to its flag.
        counts: of the camera's frames, this one included.
    """

    camera: str = ""
    alarm: FrameState = FrameState.UNKNOWN
    profile: str = ""
    sequence: int = 0
    latency_ms: float = 0.0
    counts: FrameCounts = FrameCounts()

    def message_fields(self) -> dict[str, Any]:
        """The fields of ``zmask_ros/AttackFlag``, but its header and its regions, for any library's message class."""
        same = {name: value for name, value in vars(self).items() if name not in ("regions", "counts")}
        states = {"state": int(self.state), "alarm": int(self.alarm)}
        stages = {"stages": list(self.stages_ms), "stages_ms": list(self.stages_ms.values())}
        return {**same, **states, **stages, **vars(self.counts)}


def verdict_reason(precaution: bool, remark: str) -> str:
    """The ``reason`` of a frame that has a verdict."""
    return _BETWEEN_REASONS.join(filter(None, (PRECAUTION if precaution else "", remark)))


def camera_name(namespace: str) -> str:
    """The name of the camera whose topics lie in ``namespace``."""
    return namespace.strip("/") or "camera"


def profile_identity(path: Path) -> str:
    """By which a flag names its profile: the file's name, @, the first 12 hexadecimal digits of its SHA-256."""
    return f"{path.name}@{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"

"""TODO."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

PRECAUTION = "masked as a precaution: suspicious, but not called an attack"


class FrameState(str, Enum):
    """What is known of a frame; the names are those of ``zmask_ros/AttackFlag``."""

    UNKNOWN = "UNKNOWN"
    CLEAN = "CLEAN"
    ATTACK = "ATTACK"


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


# `state` of zmask_ros/AttackFlag by the names of its constants.
STATE_CODES = {"UNKNOWN": 0, "CLEAN": 1, "ATTACK": 2}


def camera_name(namespace: str) -> str:
    """The name of the camera whose topics lie in ``namespace``."""
    return namespace.strip("/") or "camera"


def profile_identity(path: Path) -> str:
    """By which a flag names its profile: the file's name, @, the first 12 hexadecimal digits of its SHA-256."""
    return f"{path.name}@{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


@dataclass
class FrameCounts:
    """What became of a camera's frames: each that was received is in one of the others, or still in work."""

    received: int = 0
    processed: int = 0
    dropped: int = 0
    failed: int = 0


@dataclass(frozen=True)
class FlagContext:
    """What a flag says beyond the result of its frame.

    Attributes:
        camera: its name.
        alarm: name of its state: UNKNOWN, CLEAN or ATTACK.
        profile: identity of the profile.
        sequence: number of the frame; 0 without one.
        latency_ms: since the frame arrived.
        counts: of the frames, this one included.
    """

    camera: str
    alarm: str
    profile: str
    sequence: int
    latency_ms: float
    counts: FrameCounts = field(default_factory=FrameCounts)


@dataclass(frozen=True)
class RegionRecord:
    """The fields of `zmask_ros/AttackRegion`, its rectangle in pixels."""

    x: int
    y: int
    width: int
    height: int
    score: float
    fraction: float


@dataclass(frozen=True)
class AttackRecord:
    """The fields of `zmask_ros/AttackFlag` without its header; `stages_ms` are its stages by their names."""

    state: int
    reason: str
    score: float
    threshold: float
    mask_fraction: float
    latency_ms: float
    regions: tuple[RegionRecord, ...] = ()
    stages_ms: dict[str, float] = field(default_factory=dict)
    camera: str = ""
    alarm: int = 0
    profile: str = ""
    sequence: int = 0
    received: int = 0
    processed: int = 0
    dropped: int = 0
    failed: int = 0
    masking_threshold: float = math.inf

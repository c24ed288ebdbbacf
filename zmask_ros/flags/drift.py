"""How far what a camera sees lies from the clean drives of its profile, and what to do about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

REFIT = (
    "look at the lens and the windshield; if they are clean, bring the profile to this camera's footage: "
    "zmask prepare BAG --from OLD.zmask.safetensors -o NEW.zmask.safetensors"
)


class DriftLevel(IntEnum):
    """Whether the profile fits the camera; numbers are those of the constants of ``zmask_ros/AttackSummary``."""

    UNKNOWN = 0
    OK = 1
    WARN = 2
    ERROR = 3


@dataclass(frozen=True)
class DriftLevels:
    """Distances above which a profile does not fit.

    Attributes:
        warn: above this it may not, at least 0.
        error: above this it does not, at least 0.
    """

    warn: float = 1.0
    error: float = 1.5


@dataclass(frozen=True)
class Drift:
    """The distance between the last frames of a camera and the clean drives of its profile.

    Attributes:
        distance: 1 where the frames lie as far from the profile as held-out stretches of its own drives; NaN: unknown.
        layers: the same of each layer alone, by name; empty if unknown.
        frames: number of frames that were observed so far.
        reason: why it is unknown, in one clause; else empty.
    """

    distance: float = math.nan
    layers: dict[str, float] = field(default_factory=dict)
    frames: int = 0
    reason: str = ""

    @property
    def furthest(self) -> str:
        """Name of the layer that is the furthest away; empty if unknown."""
        return max(self.layers, key=self.layers.__getitem__, default="")

    def level(self, levels: DriftLevels) -> DriftLevel:
        """Whether the profile fits."""
        if math.isnan(self.distance):
            return DriftLevel.UNKNOWN
        if self.distance > levels.error:
            return DriftLevel.ERROR
        return DriftLevel.WARN if self.distance > levels.warn else DriftLevel.OK

    def advice(self, levels: DriftLevels) -> str:
        """What it means and what to do, in one clause."""
        level = self.level(levels)
        if level is DriftLevel.UNKNOWN:
            return f"unknown: {self.reason}"
        if level is DriftLevel.OK:
            return f"fits: distance {self.distance:.2f}"
        fits = "does not fit" if level is DriftLevel.ERROR else "may not fit"
        return f"the profile {fits} this camera: distance {self.distance:.2f}, most in {self.furthest}; {REFIT}"

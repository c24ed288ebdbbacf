"""How good a profile is on held-out frames, in one figure that profiles are compared by."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

FALSE_ALARM_WEIGHT = 5.0
"""A false alarm in a hundred clean frames outweighs five hundredths of a patch's damage that is undone."""
LEAST_DAMAGE = 0.01
"""Loss of mIoU, mean over the kinds, below which there is nothing to undo."""


@dataclass(frozen=True)
class PatchFigures:
    """What one kind of patch does; mIoU outside of the patch, against the network's own clean labels; all in 0..1.

    Attributes:
        attacked: mIoU of the network alone.
        oracle: mIoU with the exact patch masked: no mask gives back more, as what a patch hides is lost.
        defended: mIoU under the defense.
        mask_iou: mean overlap of mask and patch; 0 where nothing is masked.
        flagged: share of the frames that are flagged.
    """

    attacked: float
    oracle: float
    defended: float
    mask_iou: float
    flagged: float


@dataclass(frozen=True)
class Standing:
    """What patches of several kinds do under one profile, and what it does to clean frames.

    Attributes:
        by_kind: of each kind of patch.
        false_alarms: share of clean frames that are flagged, in 0..1.
        masked: share of clean frames that are masked, flagged or not, in 0..1.
    """

    by_kind: dict[str, PatchFigures]
    false_alarms: float
    masked: float

    @property
    def recovery(self) -> float:
        """What the defense gives back of what the oracle does, all kinds together; 1 where there is nothing."""
        possible = sum(own.oracle - own.attacked for own in self.by_kind.values())
        undone = sum(own.defended - own.attacked for own in self.by_kind.values())
        return 1.0 if possible < LEAST_DAMAGE * len(self.by_kind) else undone / possible

    @property
    def mask_iou(self) -> float:
        """Mean over the kinds."""
        return fmean(own.mask_iou for own in self.by_kind.values())

    @property
    def flagged(self) -> float:
        """Mean over the kinds."""
        return fmean(own.flagged for own in self.by_kind.values())

    @property
    def merit(self) -> float:
        """Mean of recovery, mask IoU and flagged share, less `FALSE_ALARM_WEIGHT` times the false alarms."""
        return (self.recovery + self.mask_iou + self.flagged) / 3 - FALSE_ALARM_WEIGHT * self.false_alarms

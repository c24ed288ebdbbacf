"""How good a profile is on held-out frames, in one figure that profiles are compared by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from statistics import fmean

PLAIN = "plain"
"""A patch of an attacker who knows nothing of the defense."""
KNOWING = ADAPTIVE, ADAPTIVE_ALIKE, ADAPTIVE_SHARE, ADAPTIVE_BOTH = (
    "adaptive",
    "adaptive, always seen alike",
    "adaptive, with equal weights",
    "adaptive, against flag and mask",
)
"""Patches of attackers who know the profile: one who keeps its score below the thresholds, one who also knows from
where the patch will be seen, one who weighs the score and the damage equally in each step, and one who does so and
spoils what is segmented again under the mask, too."""
ADAPTIVE_OTHERS = "adaptive, against other heads"
"""All patches of attackers who know any head of the same preparation, together."""
FALSE_ALARM_WEIGHT = 5.0
"""A false alarm in a hundred clean frames outweighs five hundredths of a patch's damage that is undone."""
MORE_KEPT, MORE_HARM = 0.05, 0.005
"""How much more an adaptive attacker may seem to keep by chance: of a plain patch's damage, and of mIoU. Where a plain
patch does hardly anything, shares of it say nothing."""
LEAST_DAMAGE = 0.01
"""Loss of mIoU below which there is nothing to undo."""


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

    @staticmethod
    def mean(figures: Sequence[PatchFigures]) -> PatchFigures:
        """Of several patches, at least one."""
        return PatchFigures(*(fmean(column) for column in zip(*map(astuple, figures), strict=True)))

    @property
    def harm(self) -> float:
        """What it does through the defense beyond what a patch does by hiding what is behind it."""
        return max(0.0, self.oracle - self.defended)


@dataclass(frozen=True)
class Standing:
    """What patches of several kinds do under one profile, and what it does to clean frames.

    Attributes:
        by_kind: of each kind of patch.
        false_alarms: share of clean frames that are flagged, in 0..1.
        masked: share of clean frames that are masked, flagged or not, in 0..1.
        benign: share of benign pictures of other cameras that are flagged, in 0..1; None without any.

    Of the kinds that know the profile, of which there may be one or several, the worst counts alone.
    """

    by_kind: dict[str, PatchFigures]
    false_alarms: float
    masked: float
    benign: float | None = None

    @property
    def recovery(self) -> float:
        """What the defense gives back of what the oracle does, all kinds together; 1 where there is nothing."""
        possible = sum(own.oracle - own.attacked for own in self._counting)
        undone = sum(own.defended - own.attacked for own in self._counting)
        return 1.0 if possible < LEAST_DAMAGE * len(self._counting) else undone / possible

    @property
    def mask_iou(self) -> float:
        """Mean over the kinds."""
        return fmean(own.mask_iou for own in self._counting)

    @property
    def flagged(self) -> float:
        """Mean over the kinds."""
        return fmean(own.flagged for own in self._counting)

    @property
    def kept(self) -> float | None:
        """The harm that the worst adaptive patch does through the defense, over a plain one's to the network alone.

        An attacker who has to hold back is weaker for it, which recovery, a share of his own damage, does not show.
        What the exact masks cost, too, is no harm of theirs. None where there are not both patches, or the plain one
        does none.
        """
        worst = self._worst
        if PLAIN not in self.by_kind or worst is None:
            return None
        plain = self.by_kind[PLAIN]
        alone = plain.oracle - plain.attacked
        return worst.harm / alone if alone >= LEAST_DAMAGE else None

    @property
    def merit(self) -> float:
        """Mean of recovery, mask IoU, flagged share and damage that an adaptive attacker does not keep.

        Less `FALSE_ALARM_WEIGHT` times the false alarms.
        """
        good = [self.recovery, self.mask_iou, self.flagged]
        if self.kept is not None:
            good.append(1 - self.kept)
        return fmean(good) - FALSE_ALARM_WEIGHT * self.false_alarms

    def replaces(self, earlier: Standing) -> bool:
        """Whether a profile of this standing may take the place of one of the ``earlier`` standing."""
        return not self.shortcoming(earlier)

    def shortcoming(self, earlier: Standing) -> str:
        """Why a profile of this standing may not take the place of one of the ``earlier`` standing; empty: it may.

        It has to be as good, and the attacker who knows it must not keep clearly more: what it does to patches of
        others who do not know it makes up for nothing there.
        """
        kept, before = self.kept or 0.0, earlier.kept or 0.0
        if kept > before + MORE_KEPT and self._worst_harm > earlier._worst_harm + MORE_HARM:
            return f"an attacker who knows it keeps {kept:.0%} of a plain patch's damage, instead of {before:.0%}"
        if self.merit < earlier.merit:
            return f"it is worth less on what is held out ({self.merit:.3f} instead of {earlier.merit:.3f})"
        return ""

    @property
    def _worst_harm(self) -> float:
        """What the worst of the adaptive patches does, in mIoU."""
        return 0.0 if self._worst is None else self._worst.harm

    @property
    def _worst(self) -> PatchFigures | None:
        """What the worst of the adaptive patches does; None without any."""
        adaptive = [self.by_kind[kind] for kind in KNOWING if kind in self.by_kind]
        return max(adaptive, key=lambda own: own.harm, default=None)

    @property
    def _counting(self) -> list[PatchFigures]:
        others = [own for kind, own in self.by_kind.items() if kind not in KNOWING]
        return others if self._worst is None else [*others, self._worst]

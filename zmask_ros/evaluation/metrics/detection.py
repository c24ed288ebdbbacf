"""Detection from scores: ROC, the area under it, and what is found at a named false-alarm rate. Exact, plain numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SECONDS_AN_HOUR = 3600.0


@dataclass(frozen=True)
class Roc:
    """The operating points of a detector that flags scores at or above a threshold.

    Attributes:
        false_positive_rate, true_positive_rate: [N], 0..1, ascending from (0, 0) to (1, 1).
        thresholds: [N], descending; the first is infinity, where nothing is flagged.
    """

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    thresholds: np.ndarray

    @property
    def area(self) -> float:
        """Area under the curve, 0..1: the chance that an attacked frame scores higher than a clean one, ties half."""
        widths = np.diff(self.false_positive_rate)
        heights = (self.true_positive_rate[1:] + self.true_positive_rate[:-1]) / 2
        return float((widths * heights).sum())

    def true_positive_rate_at(self, false_positive_rate: float) -> float:
        """Highest share of attacks found by a threshold whose share of false alarms is at most that, 0..1."""
        allowed = self.false_positive_rate <= false_positive_rate
        return float(self.true_positive_rate[allowed].max())


def roc(clean: np.ndarray, attacked: np.ndarray) -> Roc:
    """The ROC of the scores of N clean and of M attacked frames, any finite numbers, one point a distinct score.

    Raises:
        ValueError: there are none of either kind, or a score is not a number.
    """
    negatives, positives = np.asarray(clean, float), np.asarray(attacked, float)
    if not len(negatives) or not len(positives):
        raise ValueError("a ROC needs the scores of clean and of attacked frames")
    if not (np.isfinite(negatives).all() and np.isfinite(positives).all()):
        raise ValueError("a score is not a finite number")
    levels = np.unique(np.concatenate([negatives, positives]))[::-1]
    return Roc(
        _share_at_least(negatives, levels),
        _share_at_least(positives, levels),
        np.concatenate([[math.inf], levels]),
    )


def _share_at_least(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    counts = len(scores) - np.searchsorted(np.sort(scores), levels, side="left")
    return np.concatenate([[0.0], counts / len(scores)])


def false_alarms_an_hour(false_alarm_rate: float, frames_a_second: float) -> float:
    """False alarms an hour of a camera with ``frames_a_second`` > 0, if every frame were judged for itself."""
    return false_alarm_rate * frames_a_second * SECONDS_AN_HOUR


def recovery(defended: float, attacked: float, oracle: float) -> float:
    """``(defended - attacked) / (oracle - attacked)``: 0 is no defence, 1 is as good as knowing where the patch is.

    NaN where the oracle gains nothing, because there is nothing to recover.
    """
    return (defended - attacked) / (oracle - attacked) if oracle > attacked else math.nan

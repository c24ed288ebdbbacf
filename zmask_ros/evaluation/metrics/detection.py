"""Detection from scores: ROC curve, the area under it, and what is found at a given false-alarm rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import auc, roc_curve


@dataclass(frozen=True)
class Roc:
    """The operating points of a detector that flags scores at or above a threshold.

    Attributes:
        false_positive_rate, true_positive_rate: float64 [N], 0..1, ascending from (0, 0) to (1, 1).
        thresholds: float64 [N], descending; the first is infinity, where nothing is flagged.
    """

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    thresholds: np.ndarray

    @property
    def area(self) -> float:
        """Area under the curve, 0..1: the probability that an attacked frame scores above a clean one, ties half."""
        return float(auc(self.false_positive_rate, self.true_positive_rate))

    def true_positive_rate_at(self, false_positive_rate: float) -> float:
        """Highest share of attacks found by a threshold whose share of false alarms is at most that, 0..1."""
        allowed = self.false_positive_rate <= false_positive_rate
        return float(self.true_positive_rate[allowed].max())


def roc(clean: np.ndarray, attacked: np.ndarray) -> Roc:
    """The ROC curve of the scores of N clean and of M attacked frames, with one point for each distinct score.

    Raises:
        ValueError: There are no scores of one kind, or a score is not a finite number.
    """
    if not len(clean) or not len(attacked):
        raise ValueError("a ROC needs the scores of clean and of attacked frames")
    scores = np.concatenate([clean, attacked])
    if not np.isfinite(scores).all():
        raise ValueError("a score is not a finite number")
    truth = np.arange(len(scores)) >= len(clean)
    return Roc(*roc_curve(truth, scores, drop_intermediate=False))


def recovery(defended: float, attacked: float, oracle: float) -> float:
    """``(defended - attacked) / (oracle - attacked)``: 0 is no defense, 1 is as good as knowing where the patch is.

    It is NaN where the oracle gains nothing, because there is nothing to recover.
    """
    return (defended - attacked) / (oracle - attacked) if oracle > attacked else math.nan

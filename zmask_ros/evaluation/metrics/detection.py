"""Detection from scores: ROC curve, the area under it, and what is found at a given false-alarm rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import auc, roc_curve


@dataclass(frozen=True)
class Roc:
    """The operating points of a detector that flags scores at or above a threshold.

    Attributes:
        false_positive_rate, true_positive_rate: float64 [N], 0..1, ascending from (0, 0) to (1, 1).
    """

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray

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
    truth = np.arange(len(clean) + len(attacked)) >= len(clean)
    return Roc(*roc_curve(truth, np.concatenate([clean, attacked]), drop_intermediate=False)[:2])

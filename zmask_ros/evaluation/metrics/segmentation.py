"""How good a segmentation, a mask and a detector are, from exact counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

IGNORED = 255


class Confusion:
    """Counts of (true class, predicted class) over any number of label maps.

    Args:
        num_classes: Labels 0..num_classes-1 are counted, >= 1; pixels whose true label is `IGNORED` are not.
        counts: What is counted already; None: nothing.

    Attributes:
        counts: int64 [K, K + 1]: rows are true classes, columns predicted ones. The last column holds predictions that
            are no class at all, such as 255: they are wrong, but of no class.
    """

    def __init__(self, num_classes: int, counts: np.ndarray | None = None) -> None:
        self.num_classes = num_classes
        self.counts = np.zeros((num_classes, num_classes + 1), np.int64) if counts is None else counts

    def add(self, predicted: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> None:
        """Count one label map.

        Args:
            predicted: Integers [H, W].
            truth: Integers [H, W].
            where: bool [H, W], the pixels to count; None counts all.

        Raises:
            ValueError: The shapes differ, or a true label is neither a class nor ignored.
        """
        shapes = {plane.shape for plane in (predicted, truth, where) if plane is not None}
        if len(shapes) > 1:
            raise ValueError(f"label maps of different shapes cannot be compared: {sorted(shapes)}")
        counted = np.logical_and(truth != IGNORED, True if where is None else where)
        true, found = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
        if true.size and (true.max() >= self.num_classes or true.min() < 0):
            raise ValueError(f"true label {true.max()} is none of the {self.num_classes} classes")
        found[(found < 0) | (found >= self.num_classes)] = self.num_classes
        flat = np.bincount(true * (self.num_classes + 1) + found, minlength=self.counts.size)
        self.counts += flat.reshape(self.counts.shape)

    @property
    def total(self) -> int:
        """Number of pixels counted."""
        return int(self.counts.sum())

    def iou(self) -> np.ndarray:
        """float64 [K]: intersection over union per class; NaN for classes that are not in the truth."""
        correct = np.diagonal(self.counts)
        present = self.counts.sum(1)
        union = present + self.counts[:, : self.num_classes].sum(0) - correct
        return np.where(present > 0, correct / np.maximum(union, 1), np.nan)

    def miou(self) -> float:
        """Mean of `iou` over the classes in the truth; NaN if nothing was counted."""
        return float(np.nanmean(self.iou())) if self.total else math.nan

    def pixel_accuracy(self) -> float:
        """Share of the counted pixels that are right; NaN if nothing was counted."""
        return float(np.diagonal(self.counts).sum() / self.total) if self.total else math.nan


def detection_rates(
    flagged: np.ndarray, attacked: np.ndarray, counted: np.ndarray | None = None
) -> tuple[float, float]:
    """How a detector did over N frames.

    Args:
        flagged: bool [N], what the detector said.
        attacked: bool [N], what was true.
        counted: bool [N], the frames to count; None counts all. Frames where neither answer is wrong, such as those
            whose patch is too small to matter, should be left out.

    Returns:
        Recall and false-alarm rate: the shares of attacked and of clean frames that it flagged; NaN without any.

    Raises:
        ValueError: The lengths differ.
    """
    use = np.ones(attacked.shape, bool) if counted is None else counted
    if not flagged.shape == attacked.shape == use.shape:
        raise ValueError(f"{flagged.shape} flags, {attacked.shape} truths and {use.shape} choices cannot be compared")
    return mean(flagged[attacked & use]), mean(flagged[~attacked & use])


def mean(values: Sequence[float] | np.ndarray) -> float:
    """The mean of N values, or the share of N answers that are yes; NaN without any."""
    return float(np.mean(values)) if len(values) else math.nan

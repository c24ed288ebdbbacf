"""How good a segmentation, a mask and a detector are, from exact integer counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

IGNORED = 255


class Confusion:
    """Counts of (true class, predicted class) over any number of label maps.

    Args:
        num_classes: Labels 0..num_classes-1 are counted, >= 1.
        ignore: This true label is not counted.
    """

    def __init__(self, num_classes: int, ignore: int = IGNORED) -> None:
        self.num_classes = num_classes
        self.ignore = ignore
        # The last column holds predictions that are no class at all, such as 255: wrong, but of no class.
        self._counts = np.zeros((num_classes, num_classes + 1), np.int64)

    @staticmethod
    def of(counts: np.ndarray) -> Confusion:
        """The confusion with these ``counts``, integers [K, K + 1]."""
        confusion = Confusion(len(counts))
        confusion._counts += counts
        return confusion

    @property
    def counts(self) -> np.ndarray:
        """int64 [K, K + 1]: rows are true classes, columns predicted ones, and the last column any other prediction."""
        return self._counts

    def add(self, predicted: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> None:
        """Count one label map.

        Args:
            predicted: Integers [H, W].
            truth: Integers [H, W].
            where: bool [H, W], the pixels to count; None counts all.

        Raises:
            ValueError: The shapes differ, or a true label is neither a class nor ignored.
        """
        shapes = {predicted.shape, truth.shape} | ({where.shape} if where is not None else set())
        if len(shapes) > 1:
            raise ValueError(f"label maps of different shapes cannot be compared: {sorted(shapes)}")
        counted = truth != self.ignore if where is None else (truth != self.ignore) & where.astype(bool)
        true, found = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
        if true.size and (true.max() >= self.num_classes or true.min() < 0):
            raise ValueError(f"true label {true.max()} is none of the {self.num_classes} classes")
        found = np.where((found < 0) | (found >= self.num_classes), self.num_classes, found)
        columns = self.num_classes + 1
        flat = np.bincount(true * columns + found, minlength=self.num_classes * columns)
        self._counts += flat.reshape(self.num_classes, columns)

    def merge(self, other: Confusion) -> None:
        """Add the counts of ``other``.

        Raises:
            ValueError: It counts other classes.
        """
        if (self.num_classes, self.ignore) != (other.num_classes, other.ignore):
            raise ValueError("confusions of different classes cannot be merged")
        self._counts += other._counts

    @property
    def total(self) -> int:
        """Number of pixels counted."""
        return int(self._counts.sum())

    def iou(self) -> np.ndarray:
        """float64 [K]: intersection over union per class; NaN for classes that are not in the truth."""
        correct = np.diagonal(self._counts)
        present = self._counts.sum(1)
        union = present + self._counts[:, : self.num_classes].sum(0) - correct
        return np.where(present > 0, correct / np.maximum(union, 1), np.nan)

    def miou(self) -> float:
        """Mean of `iou` over the classes in the truth; NaN if nothing was counted."""
        return float(np.nanmean(self.iou())) if self.total else math.nan

    def pixel_accuracy(self) -> float:
        """Share of the counted pixels that are right; NaN if nothing was counted."""
        return float(np.diagonal(self._counts).sum() / self.total) if self.total else math.nan


def mask_iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two masks [H, W], non-zero inside; two empty masks agree: 1.

    Raises:
        ValueError: The shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"masks of different shapes cannot be compared: {predicted.shape}, {truth.shape}")
    first, second = predicted.astype(bool), truth.astype(bool)
    union = int((first | second).sum())
    return float((first & second).sum() / union) if union else 1.0


@dataclass(frozen=True)
class Detections:
    """How a detector did over frames.

    Attributes:
        attacked, clean: Number of frames with and without an attack.
        found: Number of attacked frames that were flagged.
        false_alarms: Number of clean frames that were flagged.
    """

    attacked: int
    clean: int
    found: int
    false_alarms: int

    @property
    def recall(self) -> float:
        """Share of attacked frames that were flagged; NaN without any."""
        return self.found / self.attacked if self.attacked else math.nan

    @property
    def false_alarm_rate(self) -> float:
        """Share of clean frames that were flagged; NaN without any."""
        return self.false_alarms / self.clean if self.clean else math.nan

    @property
    def precision(self) -> float:
        """Share of flagged frames that were attacked; NaN without any flag."""
        flagged = self.found + self.false_alarms
        return self.found / flagged if flagged else math.nan


def count_detections(flagged: np.ndarray, attacked: np.ndarray, counted: np.ndarray | None = None) -> Detections:
    """Count over N frames.

    Args:
        flagged: bool [N], what the detector said.
        attacked: bool [N], what was true.
        counted: bool [N], the frames to count; None counts all. Frames where neither answer is wrong, such as those
            whose patch is too small to matter, should be left out.

    Raises:
        ValueError: The lengths differ.
    """
    said, was = np.asarray(flagged, bool), np.asarray(attacked, bool)
    use = np.ones(was.shape, bool) if counted is None else np.asarray(counted, bool)
    if not said.shape == was.shape == use.shape:
        raise ValueError(f"{said.shape} flags, {was.shape} truths and {use.shape} choices cannot be compared")
    return Detections(
        attacked=int((was & use).sum()),
        clean=int((~was & use).sum()),
        found=int((said & was & use).sum()),
        false_alarms=int((said & ~was & use).sum()),
    )

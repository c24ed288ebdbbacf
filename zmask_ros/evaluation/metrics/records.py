"""What is kept of every frame of an evaluation; all figures of a report follow from these records."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from zmask_ros.evaluation.metrics.segmentation import Confusion, mean
from zmask_ros.runtime.patch_truth import mask_iou


@dataclass(frozen=True)
class Verdict:
    """What a defense says of one image of H x W pixels.

    Attributes:
        score: Higher is more suspicious, finite.
        flagged: Whether it calls the image attacked.
        mask: bool [H, W], what it takes for the patch; all False where it does not say.
        labels: uint8 [H, W], the segmentation under the defense.
        undefended: uint8 [H, W], the network's segmentation of the image as it came.
    """

    score: float
    flagged: bool
    mask: np.ndarray
    labels: np.ndarray
    undefended: np.ndarray

    @staticmethod
    def unmasked(labels: np.ndarray, score: float = 0.0, flagged: bool = False) -> Verdict:
        """The verdict that masks nothing, so that the network's own ``labels`` [H, W] stand."""
        return Verdict(score, flagged, np.zeros(labels.shape, bool), labels, labels)


@dataclass(frozen=True)
class TestFrame:
    """One frame to evaluate on.

    Attributes:
        name, drive: Those of the scene.
        image: uint8 [H, W, 3] RGB, attacked or changed.
        truth: uint8 [H, W]; 255 where nothing is counted: unlabeled, or under a patch or board.
        hidden: bool [H, W], the pixels of the patch or board.
        clean: uint8 [H, W], the undefended network's labels of the scene before the change.
    """

    __test__ = False

    name: str
    drive: str
    image: np.ndarray
    truth: np.ndarray
    hidden: np.ndarray
    clean: np.ndarray


@dataclass(frozen=True)
class Record:
    """One frame under one evaluator.

    Attributes:
        name, drive: Those of the frame.
        score: The evaluator's score.
        flagged: Whether it called the frame attacked.
        masked: Whether it masked any pixel.
        counts: Confusion counts of its labels, row by row: K x (K + 1) integers.
        mask_iou, mask_recall: Its mask against the patch, 0..1; None without a patch.
        hidden_share: Share of the image that the patch or board covers, 0..1.
    """

    name: str
    drive: str
    score: float
    flagged: bool
    masked: bool
    counts: tuple[int, ...]
    mask_iou: float | None
    mask_recall: float | None
    hidden_share: float


Evaluator = Callable[[TestFrame], Verdict]


def record(frame: TestFrame, verdict: Verdict, num_classes: int) -> Record:
    """What is kept of a frame and of an evaluator's verdict on it."""
    confusion = Confusion(num_classes)
    confusion.add(verdict.labels, frame.truth)
    counts, share = tuple(confusion.counts.ravel().tolist()), float(frame.hidden.mean())
    iou, recall = None, None
    if frame.hidden.any():
        iou, recall = mask_iou(verdict.mask, frame.hidden), float(verdict.mask[frame.hidden].mean())
    said = verdict.score, verdict.flagged, bool(verdict.mask.any())
    return Record(frame.name, frame.drive, *said, counts, iou, recall, share)


class RecordSet:
    """The records of N frames under one evaluator, for fast figures of all of them or of a selection.

    Args:
        records: N records.
        num_classes: Number of classes K that their confusion counts have.

    Attributes:
        num_classes: As above.
        scores, flagged, masked: What the records say, as arrays [N].
        mask_iou, mask_recall: Their means over the frames with a patch, 0..1; NaN without any.
        hidden_share: Its mean, 0..1; NaN without frames.
    """

    def __init__(self, records: Sequence[Record], num_classes: int) -> None:
        self.records = list(records)
        self.scores = np.array([record.score for record in records])
        self.flagged = np.array([record.flagged for record in records], bool)
        self.masked = np.array([record.masked for record in records], bool)
        self.mask_iou = mean([record.mask_iou for record in records if record.mask_iou is not None])
        self.mask_recall = mean([record.mask_recall for record in records if record.mask_recall is not None])
        self.hidden_share = mean([record.hidden_share for record in records])
        self.num_classes = num_classes
        self._counts = np.array([record.counts for record in records]).reshape(-1, num_classes, num_classes + 1)

    def __len__(self) -> int:
        return len(self.records)

    def miou(self, chosen: np.ndarray | slice = np.s_[:]) -> float:
        """Mean IoU over the pixels of all frames together, or of those ``chosen`` by index; NaN without pixels."""
        return Confusion(self.num_classes, self._counts[chosen].sum(0)).miou()

    def pixel_accuracy(self) -> float:
        """Share of the pixels of all frames that are right, 0..1; NaN without pixels."""
        return Confusion(self.num_classes, self._counts.sum(0)).pixel_accuracy()

    def accuracies(self) -> np.ndarray:
        """float64 [N]: the pixel accuracy of every frame for itself; NaN where no pixel has a label."""
        totals = self._counts.sum((1, 2))
        right = np.trace(self._counts, axis1=1, axis2=2)
        return np.where(totals > 0, right / np.maximum(totals, 1), np.nan)


def recovery(own: RecordSet, none: RecordSet, best: RecordSet, chosen: np.ndarray | slice = np.s_[:]) -> float:
    """MIoU that a defense gives back to attacked frames, as a share of what masking exactly the patches gives back.

    Args:
        own: the records of the frames under the defense.
        none: those of the undefended network.
        best: those of the true masks.
        chosen: the frames that count, by index.

    Returns:
        NaN where exact masks give nothing back.
    """
    attacked = none.miou(chosen)
    possible = best.miou(chosen) - attacked
    return (own.miou(chosen) - attacked) / possible if possible > 0 else math.nan

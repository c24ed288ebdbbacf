"""What is kept of every frame of an evaluation; all figures of a report follow from these records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zmask_ros.evaluation.metrics.segmentation import IGNORED, Confusion, mask_iou
from zmask_ros.progress import Advance, no_advance


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

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary that `from_json` reads."""
        return asdict(self)

    @staticmethod
    def from_json(entry: dict[str, Any]) -> Record:
        """The record that `to_json` wrote."""
        return Record(**(entry | {"counts": tuple(entry["counts"])}))


Evaluator = Callable[[TestFrame], Verdict]


def record_frames(
    evaluator: Evaluator, frames: Iterable[TestFrame], num_classes: int, advance: Advance = no_advance
) -> list[Record]:
    """The records of ``frames`` under ``evaluator``; each frame is one step of ``advance``."""
    records = []
    for frame in frames:
        verdict = evaluator(frame)
        confusion = Confusion(num_classes)
        confusion.add(verdict.labels, frame.truth)
        attacked = bool(frame.hidden.any())
        records.append(
            Record(
                name=frame.name,
                drive=frame.drive,
                score=verdict.score,
                flagged=verdict.flagged,
                masked=bool(verdict.mask.any()),
                counts=tuple(confusion.counts.ravel().tolist()),
                mask_iou=mask_iou(verdict.mask, frame.hidden) if attacked else None,
                mask_recall=float(verdict.mask[frame.hidden].mean()) if attacked else None,
                hidden_share=float(frame.hidden.mean()),
            )
        )
        advance()
    return records


class RecordSet:
    """The records of N frames under one evaluator, for fast figures of all of them or of a selection.

    Args:
        records: N records.
        num_classes: Number of classes K that their confusion counts have.
    """

    def __init__(self, records: Sequence[Record], num_classes: int) -> None:
        self.records = list(records)
        self.scores = np.array([record.score for record in records])
        self.flagged = np.array([record.flagged for record in records], bool)
        self.masked = np.array([record.masked for record in records], bool)
        self._counts = np.array([record.counts for record in records]).reshape(-1, num_classes, num_classes + 1)

    def __len__(self) -> int:
        return len(self.records)

    def miou(self, chosen: np.ndarray | slice = np.s_[:]) -> float:
        """Mean IoU over the pixels of all frames together, or of those ``chosen`` by index; NaN without pixels."""
        return Confusion.of(self._counts[chosen].sum(0)).miou()

    def pixel_accuracy(self) -> float:
        """Share of the pixels of all frames that are right, 0..1; NaN without pixels."""
        return Confusion.of(self._counts.sum(0)).pixel_accuracy()

    def accuracies(self) -> np.ndarray:
        """float64 [N]: the pixel accuracy of every frame for itself; NaN where no pixel has a label."""
        totals = self._counts.sum((1, 2))
        right = np.trace(self._counts, axis1=1, axis2=2)
        return np.where(totals > 0, right / np.maximum(totals, 1), np.nan)

    @property
    def mask_iou(self) -> float:
        """Mean `Record.mask_iou` over the frames with a patch; NaN without any."""
        return _mean(record.mask_iou for record in self.records)

    @property
    def mask_recall(self) -> float:
        """Mean `Record.mask_recall` over the frames with a patch; NaN without any."""
        return _mean(record.mask_recall for record in self.records)

    @property
    def hidden_share(self) -> float:
        """Mean `Record.hidden_share`; NaN without frames."""
        return _mean(record.hidden_share for record in self.records)


def _mean(values: Iterable[float | None]) -> float:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else math.nan


def without(truth: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """``truth`` with nothing to count where ``hidden``."""
    return np.where(hidden, np.uint8(IGNORED), truth)

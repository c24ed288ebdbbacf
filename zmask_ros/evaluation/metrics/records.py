"""What is kept of every frame, and the figures that follow from it. All figures of a report come from records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zmask_ros.evaluation.metrics.segmentation import IGNORED, Confusion, mask_iou


@dataclass(frozen=True)
class Verdict:
    """What a defence says of one image of H x W pixels.

    Attributes:
        score: higher is more suspicious, finite.
        flagged: whether it calls the image attacked.
        mask: bool [H, W], what it takes for the patch; all False where it does not say.
        labels: uint8 [H, W], the segmentation under the defence.
        undefended: uint8 [H, W], the network's segmentation of the image as it came.
    """

    score: float
    flagged: bool
    mask: np.ndarray
    labels: np.ndarray
    undefended: np.ndarray


@dataclass(frozen=True)
class TestFrame:
    """One frame to judge.

    Attributes:
        name, drive: of the scene.
        image: uint8 [H, W, 3] RGB, with whatever was done to it.
        truth: uint8 [H, W]; 255 where nothing is counted: unlabelled, or under a patch or board.
        hidden: bool [H, W], the patch's or board's pixels.
        clean: uint8 [H, W], the undefended network's labels of the scene as it was.
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
    """One frame under one judge.

    Attributes:
        name, drive: of the frame.
        score: of the judge.
        flagged: whether it called the frame attacked.
        masked: whether it masked any of it.
        counts: confusion counts of the labels that it gave, row by row: K x (K + 1) of them.
        mask_iou, mask_recall: of the judge's mask against the patch, 0..1; None without a patch.
        hidden_share: share of the image that the patch or board covers, 0..1.
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


Judge = Callable[[TestFrame], Verdict]


def judge_frames(
    judge: Judge, frames: Iterable[TestFrame], num_classes: int, advance: Callable[[], None] = lambda: None
) -> list[Record]:
    """The records of ``frames`` under ``judge``; calls ``advance`` after each."""
    records = []
    for frame in frames:
        verdict = judge(frame)
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


def to_json(records: Sequence[Record]) -> list[dict[str, Any]]:
    """JSON-ready; `from_json` reads it."""
    return [asdict(record) for record in records]


def from_json(entries: Sequence[dict[str, Any]]) -> list[Record]:
    """The records that `to_json` wrote."""
    return [Record(**(entry | {"counts": tuple(entry["counts"])})) for entry in entries]


class Column:
    """The records of one judge over one set of frames, for fast figures of any selection of them."""

    def __init__(self, records: Sequence[Record], num_classes: int) -> None:
        self.records = list(records)
        self.scores = np.array([record.score for record in records])
        self.flagged = np.array([record.flagged for record in records], bool)
        self.masked = np.array([record.masked for record in records], bool)
        self.drives = [record.drive for record in records]
        self._counts = np.array([record.counts for record in records]).reshape(-1, num_classes, num_classes + 1)

    def __len__(self) -> int:
        return len(self.records)

    def miou(self, chosen: np.ndarray | None = None) -> float:
        """Mean IoU over the pixels of all frames, or of those ``chosen`` by index, together; NaN without pixels."""
        return Confusion.of(self._chosen(chosen).sum(0)).miou()

    def pixel_accuracy(self, chosen: np.ndarray | None = None) -> float:
        """Share of the pixels that are right, as `miou`."""
        return Confusion.of(self._chosen(chosen).sum(0)).pixel_accuracy()

    def accuracies(self) -> np.ndarray:
        """float64 [N]: pixel accuracy of every frame for itself; NaN where no pixel has a label."""
        totals = self._counts.sum((1, 2))
        right = np.trace(self._counts, axis1=1, axis2=2)
        return np.where(totals > 0, right / np.maximum(totals, 1), np.nan)

    def mean(self, name: str) -> float:
        """Mean of a record's entry over the frames that have it; NaN if none has."""
        values = [value for value in (getattr(record, name) for record in self.records) if value is not None]
        return float(np.mean(values)) if values else math.nan

    def _chosen(self, chosen: np.ndarray | None) -> np.ndarray:
        return self._counts if chosen is None else self._counts[chosen]


def without(truth: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """``truth`` with nothing to count where ``hidden``."""
    return np.where(hidden, np.uint8(IGNORED), truth)

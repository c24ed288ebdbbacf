"""Where a patch is in a recorded drive, as `zmask world` writes it, and what a replay found of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zmask_ros.flags.flag import FrameState
from zmask_ros.io.bags.reader import BagError
from zmask_ros.io.bags.recorded_pictures import RecordedPictures
from zmask_ros.runtime.camera import CameraResult

TRUTH_TOPIC = "truth/patch"
"""In the namespace of the camera: mono8, 255 where a patch is seen."""
SHOWN_SHARE = 0.01
"""Share of the image that a patch must cover to be expected to be found."""


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


@dataclass
class FoundPatches:
    """What was found, frame by frame, of the patches of a drive.

    Attributes:
        overlaps: of mask and patch, 0..1, in each frame in which a patch covers `SHOWN_SHARE`.
        flagged: of these frames, how many were flagged.
        without: number of frames without a patch.
        false_alarms: of these, how many were flagged.
    """

    overlaps: list[float] = field(default_factory=list)
    flagged: int = 0
    without: int = 0
    false_alarms: int = 0

    @property
    def mask_iou(self) -> float | None:
        """Mean overlap of mask and patch; None where there are none."""
        return float(np.mean(self.overlaps)) if self.overlaps else None

    def add(self, patch: np.ndarray, result: CameraResult) -> None:
        """Take a frame, in which a patch is seen where ``patch`` [H, W] is not 0."""
        flagged = result.state is FrameState.ATTACK
        if not patch.any():
            self.without += 1
            self.false_alarms += flagged
        elif float((patch > 0).mean()) >= SHOWN_SHARE:
            self.flagged += flagged
            mask = np.zeros_like(patch) if result.pictures is None else result.pictures.mask
            self.overlaps.append(mask_iou(mask, patch) if mask.shape == patch.shape else 0.0)


class PatchTruth:
    """Compares results with the truth in a bag; context manager.

    Args:
        bag: the drive.
        topics: the image topics in it.
        namespace: of the camera. Without a topic of the truth in it, nothing is known.
    """

    def __init__(self, bag: Path, topics: Sequence[str], namespace: str) -> None:
        topic = f"{namespace}/{TRUTH_TOPIC}"
        self._planes: RecordedPictures | None = None
        if topic in topics:
            # A topic of which nothing was recorded tells nothing.
            with suppress(BagError):
                self._planes = RecordedPictures(bag, topic)
        self._found = FoundPatches()

    def __enter__(self) -> PatchTruth:
        return self

    def __exit__(self, *_: object) -> None:
        if self._planes is not None:
            self._planes.close()

    @property
    def found(self) -> FoundPatches | None:
        """What was found so far; None: there is no truth."""
        return None if self._planes is None else self._found

    def add(self, stamp_ns: int, result: CameraResult) -> None:
        """Compare the result of the frame with this stamp; frames come in the order of their stamps."""
        patch = None if self._planes is None else self._planes.plane_at(stamp_ns)
        if patch is not None:
            self._found.add(patch, result)

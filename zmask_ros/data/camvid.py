"""CamVid: labelled driving images on disk, in the layout of the SegNet tutorial."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from zmask_ros.errors import ZmaskError

CAMVID_VARIABLE = "ZMASK_CAMVID"
"""Environment variable with the folder of CamVid; there is no default."""
CAMVID_COUNTS_PER_SECOND = 30
"""File names count the frames of a 30 Hz camera."""
CAMVID_UNLABELLED_ON_DISK = 11
UNLABELLED = 255
"""Label of pixels without a class, in all arrays of labels."""
SPLITS = ("train", "val")


class DatasetError(ZmaskError):
    """A dataset that is missing, incomplete or not in the expected layout."""


@dataclass(frozen=True)
class LabeledFrame:
    """One image with its labels.

    Attributes:
        name: file name without its ending, unique within a split.
        image: uint8 [H, W, 3], RGB.
        labels: uint8 [H, W], class ids 0..10, 255 = unlabelled.
        stamp_ns: time since the start of the frame's drive, in nanoseconds.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    stamp_ns: int

    @property
    def drive(self) -> str:
        """The recording that the frame belongs to; stamps are comparable within it only."""
        return _drive(self.name)


def camvid_root() -> Path | None:
    """The folder that the environment variable ``ZMASK_CAMVID`` names; None if it is not set or no such folder."""
    named = os.environ.get(CAMVID_VARIABLE)
    return Path(named).resolve() if named and Path(named).is_dir() else None


class CamVid:
    """One split of CamVid as a sequence of `LabeledFrame`, in the order of the file names.

    A split may hold several drives. File names count frames of a 30 Hz camera, whatever the rate of the split itself.

    Args:
        root: folder with ``<split>/*.png`` and ``<split>annot/*.png`` under the same file names.
        split: one of `SPLITS`.
        drives: of the split, such as 0016E5; none: all of them.

    Raises:
        DatasetError: no such split or drive, no images, or an image without its label map.
    """

    def __init__(self, root: Path, split: str, drives: Collection[str] = ()) -> None:
        if split not in SPLITS:
            raise DatasetError(f"CamVid has no split '{split}'; choose one of {', '.join(SPLITS)}.")
        self.split = split
        self._labels = Path(root) / f"{split}annot"
        self._images = sorted((Path(root) / split).glob("*.png"))
        if not self._images:
            raise DatasetError(f"There are no CamVid images in {Path(root) / split}; set {CAMVID_VARIABLE}.")
        there = sorted({_drive(path.stem) for path in self._images})
        if missing := sorted(set(drives) - set(there)):
            raise DatasetError(f"CamVid's {split} has no drive {', '.join(missing)}; it has {', '.join(there)}.")
        self._images = [path for path in self._images if not drives or _drive(path.stem) in drives]
        unlabelled = [path.name for path in self._images if not (self._labels / path.name).is_file()]
        if unlabelled:
            raise DatasetError(
                f"{len(unlabelled)} CamVid images have no label map in {self._labels}, such as {unlabelled[0]}."
            )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> LabeledFrame:
        path = self._images[index]
        image = cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        labels = _read(self._labels / path.name, cv2.IMREAD_UNCHANGED)
        if labels.shape != image.shape[:2]:
            raise DatasetError(f"The label map of {path} is {labels.shape}, its image {image.shape[:2]}.")
        labels[labels == CAMVID_UNLABELLED_ON_DISK] = UNLABELLED
        return LabeledFrame(path.stem, image, labels, _stamp_ns(path.stem))

    def __iter__(self) -> Iterator[LabeledFrame]:
        return (self[index] for index in range(len(self)))


def _read(path: Path, flags: int) -> np.ndarray:
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise DatasetError(f"{path} is not a readable image.")
    return np.asarray(pixels)


def _drive(stem: str) -> str:
    return stem.split("_")[0]


def _stamp_ns(stem: str) -> int:
    count = re.search(r"(\d+)$", stem)
    if count is None:
        raise DatasetError(f"The file name {stem} does not end in CamVid's frame count.")
    return int(count[1]) * 1_000_000_000 // CAMVID_COUNTS_PER_SECOND

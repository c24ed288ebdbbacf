"""Stretches of clean drives, as a profile keeps them to tell whether it fits a camera."""

from __future__ import annotations

from collections import Counter

import torch

from zmask_ros.defense.drift.observation import STRETCH_FRAMES, DriftState, LayerMeans
from zmask_ros.defense.drift.reference import DriftReference, drift_reference
from zmask_ros.defense.evidence.statistics import LayerStatistics

MOST_STRETCHES = 128
"""That a profile keeps, and half of what is held at any time: memory does not grow with the drives."""

Drive = tuple[str, str]
"""A bag and its topic."""


class Stretches:
    """Takes the channels' means of clean frames, and makes stretches of those that follow each other in a drive."""

    def __init__(self) -> None:
        self._unfinished: dict[Drive, DriftState] = {}
        self._finished: list[tuple[Drive, LayerMeans]] = []
        self._seen = 0
        self._stride = 1

    def add(self, drive: Drive, means: LayerMeans) -> None:
        """Take one frame, with means [C] by layer name."""
        state = self._unfinished.pop(drive, DriftState()).observed(means)
        if state.frames < STRETCH_FRAMES:
            self._unfinished[drive] = state
        else:
            self.finish(drive, state.means)

    @property
    def finished(self) -> tuple[tuple[Drive, LayerMeans], ...]:
        """The stretches that are held, each with its drive."""
        return tuple(self._finished)

    def merge(self, other: Stretches) -> None:
        """Take the stretches of ``other``, which are so few that it left none out, as if they came now."""
        for drive, means in other.finished:
            self.finish(drive, means)

    def finish(self, drive: Drive, means: LayerMeans) -> None:
        """Take a whole stretch."""
        if self._seen % self._stride == 0:
            self._finished.append((drive, means))
        self._seen += 1
        if len(self._finished) == 2 * MOST_STRETCHES:
            self._finished = self._finished[::2]
            self._stride *= 2

    def reference(self, statistics: dict[str, LayerStatistics]) -> DriftReference | None:
        """The reference of all frames so far, by these statistics of the layers; None where there are too few."""
        kept = self._finished[:: 1 + len(self._finished) // (MOST_STRETCHES + 1)]
        if not kept:
            return None
        by_drive = sorted(kept, key=lambda stretch: stretch[0])
        drives = Counter(drive for drive, _ in by_drive)
        stretches = {name: torch.stack([means[name] for _, means in by_drive]) for name in statistics}
        return drift_reference(stretches, tuple(drives.values()), statistics)

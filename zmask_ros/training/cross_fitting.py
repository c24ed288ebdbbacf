"""Cross-fitting: what held-out frames give under the statistics of all drives but their own.

Moments merge, so those of groups of frames are kept apart, and each group is left out once. What leaves its clean range
only because a drive is a new one shows so, as it will on the next drive.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense.analyzer import Evidence, LayerEvidence, head_features
from zmask_ros.defense.evidence.descriptors import LayerDescriptors
from zmask_ros.defense.evidence.grid import layer_grid
from zmask_ros.defense.evidence.head import EvidenceHead
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.defense.evidence.taps import tap
from zmask_ros.defense.profile.detector import statistics_key
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.plans import FittingPlan

FEWEST_DRIVES = 3
"""That are left out one after the other; with fewer, stretches of them are: one drive says too little of another."""


@dataclass(frozen=True)
class Group:
    """What is left out together: a stretch of a drive, or all stretches of it; both are numbers."""

    drive: int
    stretch: int


class MomentsByKey(dict[str, Moments]):
    """Moments that grow with every batch."""

    def add(self, key: str, moments: Moments) -> None:
        """Merge ``moments`` into those of ``key``."""
        self[key] = self[key].merge(moments) if key in self else moments


class GroupedMoments(dict[Group, MomentsByKey]):
    """Moments by key, those of each group of frames apart.

    Attributes:
        prior: statistics that count as much as all groups together; none by default.
        fewest_drives: with fewer, stretches of them are left out one after the other.
    """

    def __init__(self, prior: Mapping[str, LayerStatistics] | None = None, fewest_drives: int = FEWEST_DRIVES) -> None:
        super().__init__()
        self.prior, self.fewest_drives = prior or {}, fewest_drives

    def add(self, group: Group, key: str, moments: Moments) -> None:
        """Merge ``moments`` into those of ``key`` in ``group``."""
        self.setdefault(group, MomentsByKey()).add(key, moments)

    def statistics(self, wanted: Callable[[Group], bool] = lambda group: True) -> dict[str, LayerStatistics]:
        """The statistics of all groups that are ``wanted``, together."""
        together = MomentsByKey()
        for group, moments in self.items():
            if wanted(group):
                for key, own in moments.items():
                    together.add(key, own)
        for key, own in together.items():
            if key in self.prior:
                together[key] = own.merge(self.prior[key].moments.counted(own.count))
        return {key: LayerStatistics(own) for key, own in together.items()}

    @property
    def drives(self) -> int:
        """Number of drives."""
        return len({group.drive for group in self})

    @property
    def fold_of(self) -> Callable[[Group], Hashable]:
        """What a group is left out with: its whole drive, or itself where there are too few drives."""
        by_drive = self.drives >= self.fewest_drives
        return (lambda group: group.drive) if by_drive else (lambda group: group)

    def fold_among(self, unlike: Collection[int]) -> Callable[[Group], Hashable]:
        """As `fold_of`, but with a group of a drive whose number is in ``unlike`` nothing is left out."""
        usual = self.fold_of
        return lambda group: ("unlike", group.drive) if group.drive in unlike else usual(group)

    def without(
        self, fold: Hashable, wanted: Callable[[Group], bool] = lambda group: True
    ) -> dict[str, LayerStatistics]:
        """The statistics of all groups that are ``wanted`` but those of one fold; where there is no other, of all."""
        fold_of = self.fold_of
        return self.statistics(lambda group: wanted(group) and fold_of(group) != fold) or self.statistics()


@dataclass(frozen=True)
class GroupedFrame:
    """A clean frame, uint8 [h, w, 3] RGB at the network's input size, and its group."""

    image: np.ndarray
    group: Group


@dataclass(frozen=True)
class CrossFitted:
    """What one held-out frame gives under the statistics of the others.

    Attributes:
        evidence: H_S and H_D of the layers in S and D.
        descriptors: of the layers of a channel-agnostic head, each [1, DESCRIPTORS, h, w]; none without one.
        heat: of a head that sees channels, [1, 1, h, w]; None without one.
        group: of the frame.
        fold: what was left out.
    """

    evidence: Evidence
    descriptors: tuple[Tensor, ...]
    heat: Tensor | None
    group: Group
    fold: Hashable


@torch.inference_mode()
def cross_fit(
    segmenter: Segmenter,
    plan: FittingPlan,
    moments: GroupedMoments,
    frames: Sequence[GroupedFrame],
    unlike: Collection[int] = (),
) -> list[CrossFitted]:
    """What each of ``frames`` gives under the statistics of all folds but its own; where there is one fold, of it.

    Frames of the drives with the numbers in ``unlike`` are measured by the statistics of all drives, their own too.
    """
    found: dict[int, CrossFitted] = {}
    fold_of = moments.fold_among(unlike)
    for fold in dict.fromkeys(fold_of(frame.group) for frame in frames):
        measure = Measure(segmenter, plan, moments.without(fold))
        for index, frame in enumerate(frames):
            if fold_of(frame.group) == fold:
                found[index] = measure(frame, fold)
    return [found[index] for index in range(len(frames))]


class Measure:
    """Evidence and descriptors of images under given statistics."""

    def __init__(self, segmenter: Segmenter, plan: FittingPlan, statistics: dict[str, LayerStatistics]) -> None:
        self._segmenter = segmenter
        self._taps = tap(segmenter, tuple(plan.binding.shapes))
        self._evidence = LayerEvidence(plan.shallow, plan.deep, statistics, plan.grid).to(segmenter.device)
        head = plan.head
        # A network with few layers has some of them twice.
        self._layers = head.branch.layers if head is not None and head.transfers else ()
        self._descriptors = {
            name: descriptors_of(plan, name, statistics[statistics_key("head", name)]).to(segmenter.device)
            for name in self._layers
        }
        self._head = None
        if head is not None and not head.transfers:
            self._head = head_under(plan, statistics).to(segmenter.device)

    def __call__(self, frame: GroupedFrame, fold: Hashable) -> CrossFitted:
        """What one frame gives, on the CPU."""
        with self._taps as taps:
            self._segmenter.logits(self._segmenter.prepare(frame.image))
            own: Evidence = self._evidence(taps)
            descriptors = tuple(self._descriptors[name](taps[name]).cpu() for name in self._layers)
            heat = None if self._head is None else self._head(taps).cpu()
        return CrossFitted(Evidence(own.shallow.cpu(), own.deep.cpu()), descriptors, heat, frame.group, fold)


def head_under(plan: FittingPlan, statistics: Mapping[str, LayerStatistics]) -> EvidenceHead:
    """The plan's head under given statistics, among which are those of descriptors if it sees these."""
    head = plan.head
    assert head is not None
    return EvidenceHead(head, head_features(statistics, plan.binding.shapes, plan.grid, head.branch, head.kind))


def descriptors_of(plan: FittingPlan, name: str, statistics: LayerStatistics) -> LayerDescriptors:
    """The descriptors of a layer of the plan's head."""
    assert plan.head is not None
    _, height, width = plan.binding.shapes[name]
    return LayerDescriptors(statistics, plan.head.branch.kernels[0], layer_grid((height, width), plan.grid), plan.grid)

"""What tells attacked frames from clean ones: the detector of a profile, and the screen that may run before it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zmask_ros.defense.evidence.grid import Size, working_grid
from zmask_ros.defense.evidence.head import Head
from zmask_ros.defense.evidence.overactivation import Branch
from zmask_ros.defense.evidence.statistics import LayerStatistics
from zmask_ros.defense.masking.growth import Growth

HEAD_BRANCHES = ("head", "descriptors")
"""Beginnings of the keys of what only a head needs: statistics of its layers, and of their descriptors."""
SCREEN_COARSENESS = 2
"""How many times as wide as the main detector's the cells of a screen's grid are."""


@dataclass(frozen=True)
class RateInterval:
    """A confidence interval of the true false-alarm rate of a threshold.

    Attributes:
        low: lower bound of the rate, in 0..1.
        high: upper bound of the rate, in 0..1.
        confidence: probability that the bounds hold, in 0..1, as far as the frames are independent.
        exceeded: number of clean frames that were flagged by thresholds that they had no part in.
        frames: number of clean frames that were tried.
    """

    low: float
    high: float
    confidence: float
    exceeded: int
    frames: int


@dataclass(frozen=True)
class Threshold:
    """The score above which a frame is called attacked, or masked, and where it comes from.

    Attributes:
        value: the threshold, at least 0; tau of Eq. 7 where it is the detector's.
        false_alarm_rate: the share of clean frames that was asked for, in 0..1.
        frames: number of held-out clean frames that it was set from.
        highest_clean_score: the largest score among them.
        interval: of the false-alarm rate; None where there were too few frames, and in old profiles.
    """

    value: float
    false_alarm_rate: float
    frames: int
    highest_clean_score: float
    interval: RateInterval | None = None


@dataclass(frozen=True)
class Detector:
    """All that turns the activations of one forward pass into a soft mask and a score.

    Attributes:
        grid_fraction: the working grid G is the input size divided by this.
        shallow: the layer set S, with its kernels on G.
        deep: the layer set D, with its kernels on G.
        growth: how far the mask grows.
        statistics: clean statistics of every layer in S, in D and of the head, and of a head's descriptors, keyed by
            `statistics_key`, as a layer may be in several of them.
        fusion: float32 [8], scalars of the fusion block.
        threshold: when a frame is called attacked.
        head: the evidence head that calibration trained; None: the evidence are the mean z-scores of S and D.
        precaution: when a frame is masked although it is not called attacked, set for a higher rate of clean frames;
            None: never.
        patched: what nearly all frames scored with patches that were tried with this head; None: none were.
    """

    grid_fraction: int
    shallow: Branch
    deep: Branch
    growth: Growth
    statistics: dict[str, LayerStatistics]
    fusion: Tensor
    threshold: Threshold
    head: Head | None = None
    precaution: Threshold | None = None
    patched: float | None = None

    def grid(self, input_size: Size) -> Size:
        """Height and width of the working grid G for images of this size."""
        return working_grid(input_size, self.grid_fraction)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose activations it needs, each once."""
        analyzed = self.shallow.layers + self.deep.layers if self.head is None else self.head.branch.layers
        return tuple(dict.fromkeys(analyzed + self._edge))

    @property
    def bound_layers(self) -> tuple[str, ...]:
        """All layers that it has statistics of, and the layer of the mask's edge, each once."""
        learned = () if self.head is None else self.head.branch.layers
        return tuple(dict.fromkeys(self.shallow.layers + self.deep.layers + learned + self._edge))

    @property
    def fitted_statistics(self) -> dict[str, LayerStatistics]:
        """Clean statistics of the layers in S and in D, by their names."""
        return {
            layer: self.statistics[statistics_key(name, layer)]
            for name, branch in (("shallow", self.shallow), ("deep", self.deep))
            for layer in branch.layers
        }

    @property
    def _edge(self) -> tuple[str, ...]:
        return () if self.growth.edge is None else (self.growth.edge,)

    @property
    def head_transfers(self) -> bool:
        """Whether it has a head that was trained on other networks."""
        return self.head is not None and self.head.transfers

    @property
    def masking(self) -> Threshold:
        """When a frame is masked: the precaution, or the alarm where there is none."""
        return self.precaution or self.threshold

    @property
    def alarm_is_raised(self) -> bool:
        """Whether the alarm lies in the margin between clean frames, which `masking` ends, and patches.

        A precaution that somebody asked for is set for a larger share of clean frames than the alarm.
        """
        return self.precaution is not None and self.precaution.false_alarm_rate <= self.threshold.false_alarm_rate

    def with_thresholds(self, threshold: Threshold, masking: Threshold) -> Detector:
        """The same with another alarm, and masks from another threshold on, if that is below the alarm."""
        precaution = replace(masking, interval=None) if masking.value < threshold.value else None
        return replace(self, threshold=threshold, precaution=precaution)

    @property
    def masking_threshold(self) -> float:
        """The score above which a frame is masked even if it is not flagged; infinite where there is no precaution."""
        return math.inf if self.precaution is None else self.precaution.value

    @property
    def finite(self) -> bool:
        """Whether none of its numbers is a NaN or an infinity."""
        thresholds = [t.value for t in (self.threshold, self.precaution) if t is not None]
        return _finite(self.head, self.statistics, torch.tensor(thresholds), self.fusion)

    def without_head(self) -> Detector:
        """The same with the mean z-scores of S and D for evidence; the fusion block and the threshold stay."""
        learned = tuple(statistics_key(branch, "") for branch in HEAD_BRANCHES)
        own = {key: entry for key, entry in self.statistics.items() if not key.startswith(learned)}
        return replace(self, head=None, statistics=own, patched=None)


@dataclass(frozen=True)
class Screen:
    """A small detector that sees each frame of a stream first, and says which ones the main detector has to see.

    Attributes:
        head: a small evidence head of its own.
        statistics: clean statistics of its layers, by their names.
        threshold: the score above which the main detector is asked; a chosen share of the clean frames exceeds it.
    """

    head: Head
    statistics: dict[str, LayerStatistics]
    threshold: Threshold

    @property
    def finite(self) -> bool:
        """Whether none of its numbers is a NaN or an infinity."""
        return _finite(self.head, self.statistics, torch.tensor([self.threshold.value]))

    def detector(self, main: Detector) -> Detector:
        """The screen as a detector of its own, made from the one that it is the screen of; see `coarser`."""
        plain = coarser(main)
        own = {statistics_key("head", name): entry for name, entry in self.statistics.items()}
        return replace(plain, head=self.head, threshold=self.threshold, statistics=plain.statistics | own)


def coarser(main: Detector) -> Detector:
    """What the screen of ``main`` begins with: a coarser grid, no head, and no edge or precaution: it never masks."""
    return replace(
        main.without_head(),
        grid_fraction=SCREEN_COARSENESS * main.grid_fraction,
        growth=replace(main.growth, edge=None),
        precaution=None,
    )


def statistics_key(branch: str, layer: str) -> str:
    """Key of a layer's statistics within ``branch``: ``shallow``, ``deep``, ``head`` or ``descriptors``."""
    return f"{branch}:{layer}"


def _finite(head: Head | None, statistics: dict[str, LayerStatistics], *tensors: Tensor) -> bool:
    learned = () if head is None else head.tensors.values()
    return all(entry.moments.finite for entry in statistics.values()) and all(
        bool(torch.isfinite(tensor).all()) for tensor in (*tensors, *learned)
    )

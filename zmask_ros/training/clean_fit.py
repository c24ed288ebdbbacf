"""Fitting: one streaming pass over clean frames gives statistics, fusion scalars and threshold."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
import torch
from torch import Tensor

from zmask_ros import __version__
from zmask_ros.defense.analyzer import Evidence, LayerEvidence
from zmask_ros.defense.evidence.fusion import FusionBlock, attack_score
from zmask_ros.defense.evidence.grid import Size, area_resample, box_pool, layer_grid
from zmask_ros.defense.evidence.overactivation import layer_maps
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.defense.evidence.taps import ActivationTaps
from zmask_ros.defense.profile.detector import Detector
from zmask_ros.defense.profile.profile import (
    NOT_FINITE,
    OURS,
    PAPER,
    Profile,
    ProfileError,
    Source,
)
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.plans import Plan
from zmask_ros.training.thresholds import clean_fusion, clean_threshold

HELD_OUT_EVERY = 5
RESERVOIR_FRAMES = 300
MIN_FRAMES = 20
MAX_DEAD_SHARE = 0.5


def observe(activation: Tensor, kernels: tuple[Size, ...], grid: Size) -> Moments:
    """Moments [K + 1, C] of one batch of a layer: of the activations, and of each box-pooled version of them."""
    maps, own_kernels = layer_maps(activation, kernels, grid)
    return _moments([maps, *(box_pool(maps, kernel) for kernel in own_kernels)])


def observe_unpooled(activation: Tensor, kernels: tuple[Size, ...], grid: Size) -> Moments:
    """Moments [K + 1, C] as of `observe`, but those of the activations in every row: one sigma for all kernels."""
    maps, _ = layer_maps(activation, kernels, grid)
    own = _moments([maps])
    rows = len(kernels) + 1
    return Moments(own.count, own.mean.expand(rows, -1).clone(), own.m2.expand(rows, -1).clone())


def _moments(versions: list[Tensor]) -> Moments:
    return Moments.of(torch.stack([version.transpose(0, 1).flatten(1) for version in versions]))


OBSERVERS = {OURS: observe, PAPER: observe_unpooled}


class Reservoir:
    """A uniform sample of the held-out frames' activations, of bounded size: memory does not grow with the drive."""

    def __init__(self, capacity: int = RESERVOIR_FRAMES, seed: int = 0) -> None:
        self._capacity = capacity
        self._random = random.Random(seed)
        self._kept: list[tuple[int, dict[str, Tensor]]] = []
        self.seen = 0

    @property
    def items(self) -> list[dict[str, Tensor]]:
        """The sample, in the order in which it came: neighbours in time stay neighbours."""
        return [item for _, item in sorted(self._kept, key=lambda entry: entry[0])]

    def add(self, item: dict[str, Tensor]) -> None:
        """Take ``item`` into the sample with the probability that every frame so far has (Vitter's algorithm R)."""
        self.seen += 1
        if len(self._kept) < self._capacity:
            self._kept.append((self.seen, item))
            return
        place = self._random.randrange(self.seen)
        if place < self._capacity:
            self._kept[place] = (self.seen, item)


class CleanFit:
    """Takes clean frames one by one; every fifth of a drive is held out for the fusion scalars and the threshold."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._moments: dict[str, Moments] = {}
        self._reservoir = Reservoir()

    @staticmethod
    def is_held_out(index: int) -> bool:
        """Whether the ``index``-th frame of a drive is held out; the same in whatever order drives are fitted."""
        return index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1

    def add(self, taps: ActivationTaps, index: int) -> None:
        """Take the frame behind ``taps``, the ``index``-th of its drive.

        Activations that overflow are noticed in `finish`.
        """
        if self.is_held_out(index):
            self._reservoir.add({layer: self._compact(taps[layer]) for _, layer, _ in self._plan.branches})
            return
        for key, layer, branch in self._plan.branches:
            moments = OBSERVERS[self._plan.variant](taps[layer], branch.kernels, self._plan.grid)
            self._moments[key] = self._moments[key].merge(moments) if key in self._moments else moments

    def _compact(self, activation: Tensor) -> Tensor:
        own = layer_grid((activation.shape[-2], activation.shape[-1]), self._plan.grid)
        return area_resample(activation, own).half().cpu()

    @property
    def statistics(self) -> dict[str, LayerStatistics]:
        """Statistics of the frames so far.

        Raises:
            ProfileError: no frame yet, activations that overflow, or most channels never changed.
        """
        if not self._moments:
            raise ProfileError("No clean frame was read, so there is nothing to fit.")
        if not all(moments.finite for moments in self._moments.values()):
            raise ProfileError(NOT_FINITE)
        statistics = {key: LayerStatistics(moments) for key, moments in self._moments.items()}
        alive = torch.cat([s.alive for s in statistics.values()]).double().mean().item()
        if alive < 1 - MAX_DEAD_SHARE:
            raise ProfileError(
                f"{1 - alive:.0%} of the channels never change on these frames: is the camera covered, the drive black?"
            )
        return statistics

    @torch.inference_mode()
    def finish(self, false_alarm_rate: float, sources: tuple[Source, ...], created: str, tool_version: str) -> Profile:
        """The profile of all frames so far.

        Raises:
            ProfileError: too few frames, or frames that hardly vary.
        """
        frames = sum(source.frames for source in sources)
        if frames < MIN_FRAMES or not self._reservoir.items:
            raise ProfileError(f"{frames} clean frames are too few: {MIN_FRAMES} at least, hundreds are better.")
        statistics = self.statistics
        plan = self._plan
        measure = LayerEvidence(plan.shallow, plan.deep, statistics, plan.grid)
        evidences = [measure({k: v.float() for k, v in item.items()}) for item in self._reservoir.items]
        scalars = clean_fusion(evidences)
        threshold = clean_threshold(scores_of(evidences, scalars), false_alarm_rate)
        profile = Profile(
            binding=plan.binding,
            detector=Detector(plan.grid_fraction, plan.shallow, plan.deep, plan.growth, statistics, scalars, threshold),
            sources=sources,
            created=created,
            tool_version=tool_version,
            variant=plan.variant,
        )
        profile.check_finite()
        return profile


def scores_of(evidences: Sequence[Evidence], scalars: Tensor) -> list[float]:
    """The score of each evidence [1, 1, h, w] by the fusion block with these scalars."""
    fusion = FusionBlock(scalars)
    masks = (fusion(e.shallow, e.deep) for e in evidences)
    return [float(attack_score(e.shallow, e.deep, m)) for e, m in zip(evidences, masks, strict=True)]


BLANK_SPREAD = 2.0
MAX_BLANK_SHARE = 0.5


@dataclass(frozen=True)
class CleanFrame:
    """One frame of a clean drive: bag and topic name the drive, ``index`` counts its frames from 0.

    ``image`` is uint8 [H, W, 3] RGB of any size.
    """

    bag: str
    topic: str
    index: int
    image: np.ndarray


class ProfileFit:
    """Takes clean frames one after the other; memory does not grow with their number."""

    def __init__(self, segmenter: Segmenter, plan: Plan) -> None:
        self._segmenter = segmenter
        self._fit = CleanFit(plan)
        self._taps = ActivationTaps(segmenter.network, tuple(plan.binding.shapes))
        self._used: Counter[tuple[str, str]] = Counter()
        self._held_out: Counter[tuple[str, str]] = Counter()
        self._blank = 0

    @torch.inference_mode()
    def add(self, frame: CleanFrame) -> None:
        """Take one frame: preprocessing, one forward pass, statistics."""
        with self._taps as taps:
            self._segmenter.logits(self._segmenter.prepare(frame.image))
            self._fit.add(taps, frame.index)
        counter = self._held_out if CleanFit.is_held_out(frame.index) else self._used
        counter[frame.bag, frame.topic] += 1
        self._blank += bool(frame.image[::8, ::8].std() < BLANK_SPREAD)

    def add_all(self, frames: Iterable[CleanFrame]) -> None:
        """Take all of ``frames``."""
        for frame in frames:
            self.add(frame)

    def finish(self, false_alarm_rate: float) -> Profile:
        """The profile of all frames so far.

        Raises:
            ProfileError: too few frames, or frames in which there is nothing to see.
        """
        drives = dict.fromkeys([*self._used, *self._held_out])
        frames = self._used.total() + self._held_out.total()
        if self._blank > MAX_BLANK_SHARE * frames:
            raise ProfileError(
                f"{self._blank} of {frames} frames are one uniform colour: was the camera covered? "
                "Fit on drives that show the road."
            )
        sources = tuple(Source(*drive, frames=self._used[drive], held_out=self._held_out[drive]) for drive in drives)
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return self._fit.finish(false_alarm_rate, sources, created, __version__)

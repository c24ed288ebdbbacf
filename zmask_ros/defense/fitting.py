"""Fitting: one streaming pass over clean frames gives statistics, fusion scalars and threshold."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zmask_ros.defense.analysis import Evidence, LayerEvidence
from zmask_ros.defense.calibration import clean_fusion, clean_threshold
from zmask_ros.defense.fusion import FusionBlock, attack_score
from zmask_ros.defense.growth import Growth
from zmask_ros.defense.overactivation import Branch, layer_maps
from zmask_ros.defense.pooling import Size, area_resample, box_pool, layer_grid
from zmask_ros.defense.profile import NOT_FINITE, OURS, PAPER, Binding, Profile, ProfileError, Source, statistics_key
from zmask_ros.defense.statistics import LayerStatistics, Moments
from zmask_ros.defense.taps import ActivationTaps

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


@dataclass(frozen=True)
class Plan:
    """What is fitted: layer sets with kernels, how the mask grows, on which grid, for what network.

    ``variant`` says which sigma the z-scores are taken with: ``ours``, of the pooled activations, one a kernel;
    ``paper``, of the activations themselves, the same for all kernels.
    """

    binding: Binding
    shallow: Branch
    deep: Branch
    growth: Growth
    grid_fraction: int
    grid: Size
    variant: str = OURS

    @property
    def head(self) -> None:
        """Only calibration trains one."""
        return None

    @property
    def branches(self) -> Iterator[tuple[str, str, Branch]]:
        """(statistics key, layer, branch) of every layer in S and in D."""
        for name, branch in (("shallow", self.shallow), ("deep", self.deep)):
            for layer in branch.layers:
                yield statistics_key(name, layer), layer, branch


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
            grid_fraction=plan.grid_fraction,
            shallow=plan.shallow,
            deep=plan.deep,
            growth=plan.growth,
            statistics=statistics,
            fusion=scalars,
            threshold=threshold,
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

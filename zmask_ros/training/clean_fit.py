"""Fitting: one streaming pass over clean frames gives statistics, fusion scalars and threshold.

Thresholds must hold on drives that nobody has seen. Moments merge, so those of each drive are kept apart, and a
held-out frame is scored by the statistics of all other drives; where there are few drives, of all other stretches of
the drive. Neighbors in time have no say about each other then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cache

import torch
from torch import Tensor

from zmask_ros import __version__
from zmask_ros.defense.analyzer import Evidence
from zmask_ros.defense.drift.observation import channel_means
from zmask_ros.defense.evidence.fusion import FusionBlock, attack_score
from zmask_ros.defense.evidence.grid import Size, box_pool
from zmask_ros.defense.evidence.head import EvidenceHead
from zmask_ros.defense.evidence.overactivation import layer_maps
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.defense.evidence.taps import tap
from zmask_ros.defense.masking.growth import Growth
from zmask_ros.defense.profile.detector import Detector
from zmask_ros.defense.profile.profile import (
    NOT_FINITE,
    OURS,
    PAPER,
    Profile,
    ProfileError,
    Source,
)
from zmask_ros.progress import Advance, no_advance
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.cross_fitting import (
    FEWEST_DRIVES,
    CrossFitted,
    Group,
    GroupedFrame,
    GroupedMoments,
    cross_fit,
    head_under,
)
from zmask_ros.training.descriptor_fit import descriptor_statistics, head_scores
from zmask_ros.training.observations import MOST_DRIVES, NO_CEILING, Observations, priority_of
from zmask_ros.training.plans import FittingPlan, LearnedPart
from zmask_ros.training.sources import CleanFrame, at_input_size
from zmask_ros.training.stretches import Stretches
from zmask_ros.training.thresholds import clean_fusion, clean_threshold, precaution_threshold, quantile_or_tail
from zmask_ros.training.unlike_drives import unlike_drives

FOLDS = 5
"""Stretches that a drive is divided into where there are too few drives to leave out a whole one."""
MOST_STRETCHES = 8
"""Of a drive whose moments are kept apart: memory does not grow with their number."""
LEAST_STRETCH = 10
"""Frames."""
MIN_FRAMES = 20
MAX_DEAD_SHARE = 0.5
UNLIKE = "Unlike all other drives"
"""What the note about a drive begins with that is measured by the statistics of all drives, its own too."""
BLANK_SPREAD = 2.0
"""Standard deviation of the grey values of an image below which it shows nothing."""
MAX_BLANK_SHARE = 0.5


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


class ProfileFit:
    """Takes clean frames one after the other; memory does not grow with their number.

    Every fifth frame of a drive is held out of the statistics, for the fusion scalars and the threshold.

    Args:
        segmenter: the network.
        plan: what is fitted.
        total: about how many frames there will be, to divide drives into stretches.
        prior: statistics of earlier footage that count as much as those of all frames together.
        fewest_drives: see `GroupedMoments`.
        drives: how many there will be at least; so many that each is left out as a whole are not divided.
        ceiling: see `Sample`.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        plan: FittingPlan,
        total: int = 0,
        prior: Mapping[str, LayerStatistics] | None = None,
        fewest_drives: int = FEWEST_DRIVES,
        drives: int = 1,
        ceiling: int = NO_CEILING,
    ) -> None:
        self._segmenter = segmenter
        self._plan = plan
        self._stretch = sys.maxsize if drives >= fewest_drives else max(LEAST_STRETCH, -(-total // FOLDS))
        self._taps = tap(segmenter, tuple(plan.binding.shapes))
        self.observations = Observations(prior, fewest_drives, ceiling)

    @torch.inference_mode()
    def add(self, frame: CleanFrame) -> None:
        """Take one frame: preprocessing, one forward pass, statistics. What overflows is noticed in `finish`."""
        group, drive, own = self.group(frame), (frame.bag, frame.topic), self.observations
        if frame.held_out:
            image = at_input_size(self._segmenter, frame.image)
            own.sample.add(GroupedFrame(image, group), priority_of(image, frame.index))
            own.held_out[drive] += 1
        else:
            self._observe(frame, group)
            own.used[drive] += 1
        own.blank += bool(frame.image[::8, ::8].std() < BLANK_SPREAD)

    def _observe(self, frame: CleanFrame, group: Group) -> None:
        plan, own = self._plan, self.observations
        with self._taps as taps:
            self._segmenter.logits(self._segmenter.prepare(frame.image))
            for key, layer, branch in plan.branches:
                own.moments.add(group, key, OBSERVERS[plan.variant](taps[layer], branch.kernels, plan.grid))
            means = {layer: channel_means(taps[layer])[0].cpu() for _, layer, _ in plan.branches}
        own.stretches.add((frame.bag, frame.topic), means)

    def group(self, frame: CleanFrame) -> Group:
        """What a frame is left out with."""
        return self.observations.group((frame.bag, frame.topic), frame.index // self._stretch % MOST_STRETCHES)

    def add_all(self, frames: Iterable[CleanFrame], advance: Advance = no_advance) -> None:
        """Take all of ``frames``, each of them a step of ``advance``."""
        for frame in frames:
            self.add(frame)
            advance()

    @torch.inference_mode()
    def finish(self, false_alarm_rate: float) -> Profile:
        """The profile of all frames so far.

        Raises:
            ProfileError: too few frames, frames that hardly vary or show nothing, or activations that overflow.
        """
        return self.measured().profile(false_alarm_rate)

    def measured(self) -> CleanMeasurements:
        """What all frames so far gave.

        Raises:
            ProfileError: too few frames, frames that hardly vary or show nothing, or activations that overflow.
        """
        self._check_frames()
        own = self.observations
        check_statistics(own.moments.statistics())
        held_out = tuple(own.sample.items)
        measurements = CleanMeasurements(
            self._segmenter,
            self._plan,
            own.moments,
            held_out,
            tuple(cross_fit(self._segmenter, self._plan, own.moments, held_out)),
            tuple(Source(*drive, frames=own.used[drive], held_out=own.held_out[drive]) for drive in own.drives),
            own.stretches,
        )
        return measurements.with_unlike_drives()

    def _check_frames(self) -> None:
        own = self.observations
        used, frames = own.used.total(), own.frames
        if own.blank > MAX_BLANK_SHARE * frames:
            raise ProfileError(
                f"{own.blank} of {frames} frames are one uniform colour: was the camera covered? "
                "Fit on drives that show the road."
            )
        if used < MIN_FRAMES or not own.sample.items:
            raise ProfileError(f"{used} clean frames are too few: {MIN_FRAMES} at least, hundreds are better.")


def _every_group(group: Group) -> bool:
    return True


@dataclass(frozen=True)
class CleanMeasurements:
    """What clean frames gave: enough for the profile of any head that sees the layers of the plan.

    Attributes:
        segmenter: the network.
        plan: what was fitted.
        moments: of the frames in the statistics.
        held_out: frames that are in no statistics.
        found: what each of these gives under the statistics of all drives but its own.
        sources: the drives.
        stretches: of the drives, to tell later whether the profile still fits.
        unlike: numbers of the drives that are unlike all others, as in `Group`; their frames are measured by the
            statistics of all drives, their own too.
    """

    segmenter: Segmenter
    plan: FittingPlan
    moments: GroupedMoments
    held_out: tuple[GroupedFrame, ...]
    found: tuple[CrossFitted, ...]
    sources: tuple[Source, ...]
    stretches: Stretches
    unlike: tuple[int, ...] = ()

    @torch.inference_mode()
    def with_unlike_drives(self) -> CleanMeasurements:
        """The same, the frames of drives that are unlike all others measured by the statistics of all drives."""
        statistics = self.moments.statistics()
        unlike = unlike_drives(self.found, lambda frames: self._opened(statistics, frames, frames).scores)
        changed = [frame for frame in self.held_out if frame.group.drive in unlike]
        anew = iter(cross_fit(self.segmenter, self.plan, self.moments, changed, unlike))
        found = tuple(next(anew) if frame.group.drive in unlike else frame for frame in self.found)
        return replace(self, found=found, unlike=unlike)

    @torch.inference_mode()
    def with_learned(
        self, learned: LearnedPart | None, precaution_rate: float | None, growth: Growth | None = None
    ) -> CleanMeasurements:
        """The same with another head of the same layers and kind, and another rate of precautions.

        Args:
            learned: the head; None: none.
            precaution_rate: share of clean frames that may be masked without being flagged; None: none.
            growth: of its masks; None: as it was.
        """
        growth = growth or self.plan.growth
        plan = replace(self.plan, learned=learned, precaution_rate=precaution_rate, growth=growth)
        found = self.found
        if learned is not None and not learned.head.transfers:
            # Only descriptors are the same for every head.
            found = tuple(cross_fit(self.segmenter, plan, self.moments, self.held_out, self.unlike))
        return replace(self, plan=plan, found=found)

    def heads_without(self, takes_part: Callable[[Group], bool] = _every_group) -> Callable[[Group], EvidenceHead]:
        """The plan's head as it sees a frame of a group: under the statistics of all folds but the group's own.

        Args:
            takes_part: whether the frames of a group have a part in any statistics.
        """
        fold_of = self.moments.fold_among(self.unlike)

        @cache
        def head_without(fold: Hashable) -> EvidenceHead:
            others = [own for own in self.found if takes_part(own.group) and self.moments.fold_of(own.group) != fold]
            statistics = self.moments.without(fold, takes_part)
            statistics |= descriptor_statistics(self.plan, others or self.found)
            return head_under(self.plan, statistics).to(self.segmenter.device)

        return lambda group: head_without(fold_of(group))

    @torch.inference_mode()
    def profile(
        self,
        false_alarm_rate: float,
        takes_part: Callable[[Group], bool] = _every_group,
        patched: float | None = None,
        heard: Callable[[Group], bool] | None = None,
    ) -> Profile:
        """The profile of the plan.

        Args:
            false_alarm_rate: share of clean frames that may be flagged, in 0..1, exclusive.
            takes_part: whether the frames of a group have a part in it.
            patched: what nearly all frames score with patches; None: nobody knows.
            heard: whether the frames of a group have a say in the thresholds; None: those that take part have.

        Raises:
            ProfileError: numbers overflow.
        """
        plan = self.plan
        statistics = self.moments.statistics(takes_part)
        found = [frame for frame in self.found if takes_part(frame.group)]
        judging = found if heard is None else [frame for frame in self.found if heard(frame.group)]
        opened = self._opened(statistics, found, judging)
        drives = [frame.group.drive for frame in judging]
        threshold = clean_threshold(opened.scores, false_alarm_rate, drives, patched)
        detector = Detector(
            plan.grid_fraction,
            plan.shallow,
            plan.deep,
            plan.growth,
            opened.statistics,
            opened.scalars,
            threshold,
            plan.head,
            None if plan.precaution_rate is None else precaution_threshold(opened.scores, plan.precaution_rate),
            patched,
        )
        if plan.precaution_rate is None:
            # Masks do not wait for an alarm that was raised into the margin.
            clean = quantile_or_tail(opened.scores, drives, false_alarm_rate)
            detector = detector.with_thresholds(threshold, replace(threshold, value=clean))
        profile = Profile(
            binding=plan.binding,
            detector=detector,
            sources=self.sources,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            tool_version=__version__,
            variant=plan.variant,
            drift=self.stretches.reference(detector.fitted_statistics),
        )
        profile.check_finite()
        return profile.with_notes(UNLIKE, *self._notes_on_unlike())

    def _opened(
        self,
        statistics: Mapping[str, LayerStatistics],
        frames: Sequence[CrossFitted],
        judging: Sequence[CrossFitted],
    ) -> _Opened:
        """What clean ``frames`` open, and what those that are ``judging`` score by it."""
        plan = self.plan
        if plan.learned is None:
            scalars = clean_fusion([frame.evidence for frame in frames])
            return _Opened(dict(statistics), scalars, _scores([frame.evidence for frame in judging], scalars))
        statistics = {**statistics, **descriptor_statistics(plan, frames)}
        return _Opened(statistics, plan.learned.opening, head_scores(plan, statistics, judging))

    def _notes_on_unlike(self) -> Iterator[str]:
        for drive in self.unlike:
            names = ", ".join(source.bag for source in self.sources[drive::MOST_DRIVES])
            yield (
                f"{UNLIKE} of this profile: {names}. By the others alone, most of its frames would be flagged: look "
                "whether a patch is in view, which would pass for clean from now on. If it is clean, the "
                "promised false-alarm rate holds for more of this drive, not for the next of its kind: fit two or "
                "three more like it, or a profile of its own."
            )


@dataclass(frozen=True)
class _Opened:
    """A fusion block opened by clean frames.

    Attributes:
        statistics: with those of descriptors.
        scalars: of the block.
        scores: of frames.
    """

    statistics: dict[str, LayerStatistics]
    scalars: Tensor
    scores: list[float]


def check_statistics(statistics: dict[str, LayerStatistics]) -> None:
    """Refuse statistics that no defense can be made of.

    Raises:
        ProfileError: they are not finite, or most channels never change.
    """
    if not all(own.moments.finite for own in statistics.values()):
        raise ProfileError(NOT_FINITE)
    alive = torch.cat([s.alive for s in statistics.values()]).double().mean().item()
    if alive < 1 - MAX_DEAD_SHARE:
        raise ProfileError(
            f"{1 - alive:.0%} of the channels never change on these frames: is the camera covered, the drive black?"
        )


def _scores(evidences: Sequence[Evidence], scalars: Tensor) -> list[float]:
    """The score of each evidence [1, 1, h, w] by the fusion block with these scalars."""
    fusion = FusionBlock(scalars)
    masks = (fusion(e.shallow, e.deep) for e in evidences)
    return [float(attack_score(e.shallow, e.deep, m)) for e, m in zip(evidences, masks, strict=True)]

"""Fitting bags part by part: each part of a drive is observed by itself, here or elsewhere, and merged in its turn.

One process and many walk the same way, so that both come to the same profile.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from zmask_ros.defense import Profile, Threshold
from zmask_ros.defense.profile.detector import Detector
from zmask_ros.defense.profile.merging import check_mergeable
from zmask_ros.io.bags.reader import BagPart, CameraBags, ReadReport
from zmask_ros.io.prefetch import prefetch
from zmask_ros.progress import Advance, Progress, no_advance, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.clean_fit import UNLIKE, ProfileFit
from zmask_ros.training.margin import UNTRIED, with_margin
from zmask_ros.training.observations import NO_CEILING, Observations
from zmask_ros.training.plans import PLANS, FittingPlan, plan_of
from zmask_ros.training.settings import FitSettings
from zmask_ros.training.sources import CleanFrame, clean_frames

PART_FRAMES = 1000
"""Frames of a drive that are observed together: whole stretches of it, of which each fifth frame is held out."""
REFITTED = "Fitted anew, from a profile"
"""What the note about the last profile that it was fitted anew from begins with."""


@dataclass(frozen=True)
class Fit:
    """What came of a fit.

    Attributes:
        profile: the fitted one.
        frames: number of frames that were read.
        seconds: that reading and observing them took.
        warnings: sentences on what could not be read.
    """

    profile: Profile
    frames: int
    seconds: float
    warnings: tuple[str, ...]


def part_messages(part: int, every: int) -> BagPart:
    """The messages of a bag, of which each ``every``-th counts, that make its ``part``-th part."""
    return BagPart(part * PART_FRAMES * every, (part + 1) * PART_FRAMES * every)


def parts_of(messages: int) -> int:
    """The number of parts of a bag with so many messages that count."""
    return max(1, -(-messages // PART_FRAMES))


@dataclass(frozen=True)
class Observing:
    """How parts of drives are observed.

    Attributes:
        plans: what is fitted; where there are several, each of them.
        total: see `ProfileFit`.
        drives: see `ProfileFit`.
    """

    plans: tuple[FittingPlan, ...]
    total: int
    drives: int

    def observe(
        self,
        segmenter: Segmenter,
        frames: Iterable[CleanFrame],
        ceilings: Sequence[int] = (),
        advance: Advance = no_advance,
    ) -> list[Observations]:
        """What the frames of a part give, by plan; ``ceilings`` of their samples may be known already."""
        ceilings = ceilings or [NO_CEILING] * len(self.plans)
        fits = [
            ProfileFit(segmenter, plan, self.total, drives=self.drives, ceiling=ceiling)
            for plan, ceiling in zip(self.plans, ceilings, strict=True)
        ]
        for frame in frames:
            for fit in fits:
                fit.add(frame)
            advance()
        return [fit.observations for fit in fits]


class PartwiseFit:
    """Puts a profile together from the observed parts of drives.

    With a start, the profile is that one, brought to the footage of another camera: its head, layers, screen and mask
    growth are kept. A few minutes of one road vary less than what a head was trained on, and all that is new on the
    next road would leave their range: the earlier statistics count as much as the new ones. For the same reason a
    threshold rises with the new footage, but never falls.

    Args:
        segmenter: the network.
        variant: what is fitted without a start.
        start: a profile of the same network.
        total: see `ProfileFit`.
        drives: see `ProfileFit`.

    Attributes:
        observing: how its parts are observed.

    Raises:
        ProfileError: ``start`` belongs to another network.
    """

    def __init__(
        self, segmenter: Segmenter, variant: str, start: Profile | None = None, total: int = 0, drives: int = 1
    ) -> None:
        self._segmenter, self._start = segmenter, start
        starts: tuple[Profile, ...] = ()
        if start is not None:
            starts = (start.without_screen(), *(() if start.screen is None else (start.of_screen(),)))
        plans = tuple(plan_of(segmenter, own) for own in starts) or (PLANS[variant](segmenter),)
        priors = [own.detector.statistics for own in starts] or [{}]
        self.observing = Observing(plans, total, drives)
        self._fits = [ProfileFit(segmenter, plan, prior=prior) for plan, prior in zip(plans, priors, strict=True)]

    @property
    def ceilings(self) -> list[int]:
        """Held-out frames with priorities above these, by plan, are of no use any more."""
        return [fit.observations.sample.ceiling for fit in self._fits]

    def check_mergeable(self, merged: Iterable[Profile]) -> None:
        """Refuse profiles that what comes of it could not be merged with.

        Raises:
            ProfileError: there is one.
        """
        for other in merged:
            check_mergeable(other, self.observing.plans[0])

    def merge(self, part: Sequence[Observations]) -> None:
        """Take what `Observing.observe` gave; parts come in the order of the drives."""
        for fit, own in zip(self._fits, part, strict=True):
            fit.observations.merge(own)

    def finish(self, false_alarm_rate: float, trial: bool = True, progress: Progress = silent) -> Profile:
        """The profile of all parts.

        Args:
            false_alarm_rate: share of clean frames that may be flagged, in 0..1, exclusive.
            trial: whether a patch is tried, see `with_margin`.
            progress: shows how far it is.

        Raises:
            ProfileError: the frames are too few or show nothing.
        """
        measured, start = self._fits[0].measured(), self._start
        if trial:
            profile = with_margin(self._segmenter, measured, false_alarm_rate, progress)
        else:
            profile = measured.profile(false_alarm_rate)
        if start is None:
            return profile
        note = f"{REFITTED} of {start.created or 'unknown date'}, whose head, layers and mask growth it has."
        detector = _not_lower(profile.detector, start.detector)
        kept = replace(profile, detector=detector, vote=start.vote, notes=start.notes)
        profile = kept.with_notes(UNLIKE).with_notes(UNTRIED, *profile.notes).with_notes(REFITTED, note)
        if start.screen is None:
            return profile
        alone = self._fits[1].finish(start.screen.threshold.false_alarm_rate)
        return profile.with_screen(alone, alone.detector.threshold)


def _not_lower(new: Detector, earlier: Detector) -> Detector:
    """The new detector, which neither flags nor masks what the earlier one did not.

    But an alarm that was raised into a margin is not kept where patches score below it on the new footage.
    """
    passed = new.patched is not None and new.patched <= earlier.threshold.value
    threshold = new.threshold if passed else _higher(new.threshold, earlier.threshold)
    masking = _higher(new.masking, earlier.masking)
    return new.with_thresholds(_higher(threshold, masking), masking)


def _higher(new: Threshold, earlier: Threshold) -> Threshold:
    """The new threshold, with the earlier one's value where that is higher."""
    return new if new.value >= earlier.value else replace(new, value=earlier.value)


def fit_bags(
    segmenter: Segmenter,
    bags: CameraBags,
    settings: FitSettings,
    merged: Sequence[Profile] = (),
    progress: Progress = silent,
    start: Profile | None = None,
) -> Fit:
    """Fit a profile in one pass over opened bags.

    Args:
        segmenter: the network.
        bags: of clean drives.
        settings: how.
        merged: profiles that it is to be merged with afterwards.
        progress: shows how far it is.
        start: see `PartwiseFit`.

    Raises:
        ProfileError: one of ``merged`` could not be merged with it, ``start`` belongs to another network, or the frames
            are too few or show nothing.
    """
    report, began = ReadReport(), time.perf_counter()
    fit = PartwiseFit(segmenter, settings.variant, start, bags.total, bags.bags)
    fit.check_mergeable(merged)
    with prefetch(clean_frames(bags.frames(report), bags.every)) as frames:
        _fit_parts(segmenter, fit, frames, bags.total, progress)
        seconds = time.perf_counter() - began
        profile = fit.finish(settings.false_alarm_rate, settings.trial, progress)
    return Fit(profile, report.read, seconds, tuple(report.warnings()))


def refit(
    segmenter: Segmenter,
    start: Profile,
    frames: Iterable[CleanFrame],
    total: int,
    false_alarm_rate: float,
    progress: Progress = silent,
) -> Profile:
    """``start``, brought to the footage of another camera: see `PartwiseFit`.

    Args:
        segmenter: the network of ``start``.
        start: with a head or without, with a screen or without.
        frames: clean ones.
        total: about how many there are.
        false_alarm_rate: share of clean frames that may be flagged, in 0..1, exclusive.
        progress: shows how far it is.

    Raises:
        ProfileError: ``start`` belongs to another network, or the frames are too few or show nothing.
    """
    fit = PartwiseFit(segmenter, start.variant, start, total)
    _fit_parts(segmenter, fit, frames, total, progress)
    return fit.finish(false_alarm_rate, progress=progress)


def _fit_parts(
    segmenter: Segmenter, fit: PartwiseFit, frames: Iterable[CleanFrame], total: int, progress: Progress
) -> None:
    with progress("Fitting", "frames", total) as advance:
        for part in _parts(frames):
            fit.merge(fit.observing.observe(segmenter, part, fit.ceilings, advance))


def _parts(frames: Iterable[CleanFrame]) -> Iterator[Iterator[CleanFrame]]:
    """The frames, those of each part of a drive together."""
    for _, part in groupby(frames, lambda frame: (frame.bag, frame.topic, frame.index // PART_FRAMES)):
        yield part

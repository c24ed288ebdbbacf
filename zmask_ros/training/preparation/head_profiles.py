"""Heads of a preparation as profiles, with the thresholds of all clean frames or of a part of them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import replace
from functools import cached_property

from zmask_ros.defense import Profile
from zmask_ros.defense.evidence.head import Head
from zmask_ros.progress import Progress
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.adversarial import untrained_plan
from zmask_ros.training.clean_fit import UNLIKE, CleanMeasurements, ProfileFit
from zmask_ros.training.cross_fitting import FEWEST_DRIVES, Group
from zmask_ros.training.margin import TrialError, trial_score
from zmask_ros.training.plans import FittingPlan, LearnedPart, completing
from zmask_ros.training.preparation.parts import divide_parts
from zmask_ros.training.preparation.state import Best
from zmask_ros.training.settings import PreparationSettings
from zmask_ros.training.sources import CleanFrame, total_length

NOTE = "Preparation"
"""What the notes begin with that the next preparation replaces."""
FEWEST_TAUGHT = 2
"""Drives that are left out one after the other where a head learns that sees channels, and gets its thresholds.

It takes for a patch what its drives do not show, unless it has seen each of them by the statistics of another one.
"""
KEPT_MEASUREMENTS = 2
"""With heads that are compared with each other."""


class HeadProfiles:
    """Fits clean frames, once for each kind of head, and makes a profile of any head.

    Args:
        segmenter: the network.
        plan: that a preparation begins with, with a head.
        frames: clean ones, at the network's input size, in the order of their drives.
        settings: how.
        start: the profile whose vote and notes are kept; None: there is none.
        progress: shows how far it is.

    Attributes:
        parts: the frames, divided.

    Raises:
        ZmaskError: too few frames.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        plan: FittingPlan,
        frames: Sequence[CleanFrame],
        settings: PreparationSettings,
        start: Profile | None,
        progress: Progress,
    ) -> None:
        self._segmenter, self._plan, self._frames = segmenter, plan, frames
        self._settings, self._start, self._progress = settings, start, progress
        self._latest: dict[tuple[str, float | None], CleanMeasurements] = {}
        fit = self._fit("Fitting", plan, FEWEST_DRIVES if plan.head_transfers else FEWEST_TAUGHT)
        self._measured_first: CleanMeasurements = fit.measured()
        self._by_drive = self.drives >= FEWEST_DRIVES
        self.parts = divide_parts(frames, fit.group, self._reported_with)

    @property
    def drives(self) -> int:
        """How many there are, the one that is reported on among them."""
        return self._measured_first.moments.drives

    @cached_property
    def taught(self) -> CleanMeasurements:
        """What clean frames gave with the head that learns: the one it begins with, or else one that sees channels.

        What a head sees of descriptors an attacker can keep as clean images have it, and lose hardly any strength.
        """
        if not self._plan.head_transfers:
            return self._measured_first
        plan = untrained_plan(self._segmenter, self._plan)
        return self._fit("Fitting the head's layers", plan, FEWEST_TAUGHT).measured()

    def floor(self, patched: float | None) -> Best:
        """What fitting alone gives: the head that it begins with.

        Args:
            patched: what nearly all frames score with a patch that was tried; None: none was.
        """
        learned = self._plan.learned
        assert learned is not None
        return Best(learned.head.tensors, self._plan.precaution_rate, 0, patched=patched)

    def tried(self) -> float | None:
        """What nearly all frames score with a patch that is tried now; None: none needs to be, or can be."""
        if not self._plan.head_transfers:
            return None
        begun = self._measured_first.profile(self._settings.false_alarm_rate, self.takes_part)
        try:
            return trial_score(self._segmenter, begun, [frame.image for frame in self.parts.training], self._progress)
        except TrialError:
            # The patches of the rounds will say more of what is wrong.
            return None

    def saved(self, own: Best) -> Profile:
        """A head with the statistics and thresholds of all drives."""
        profile = self._measured(own).profile(self._settings.false_alarm_rate, patched=own.patched)
        if self._start is not None:
            kept = replace(profile, vote=self._start.vote, notes=self._start.notes)
            profile = kept.with_notes(UNLIKE, *profile.notes)
        trained = f"head trained for {own.steps} steps" if own.steps else "head as it was"
        note = f"{NOTE}: {trained}, on {len(self.parts.training)} frames; reported on {self.parts.held_out}."
        return profile.with_notes(NOTE, note)

    def judged(self, own: Best) -> Profile:
        """A head with the statistics and thresholds of all frames but those that are reported on."""
        return self._measured(own).profile(self._settings.false_alarm_rate, self.takes_part, patched=own.patched)

    def as_saved(self, own: Best, left_out: Collection[Group] = ()) -> Profile:
        """A head as it is saved, with thresholds of all drives, but statistics without what is reported on.

        Args:
            own: the head.
            left_out: groups of frames that have no say in the thresholds.
        """
        return self._measured(own).profile(
            self._settings.false_alarm_rate,
            self.takes_part,
            patched=own.patched,
            heard=lambda group: group not in left_out,
        )

    def takes_part(self, group: Group) -> bool:
        """Whether frames of a group have a part in what is judged."""
        return self._reported_with(group) != self.parts.fold

    def _reported_with(self, group: Group) -> Hashable:
        """What frames are reported on together: their whole drive, or a stretch where there are few drives."""
        return group.drive if self._by_drive else group

    def _fit(self, title: str, plan: FittingPlan, fewest_drives: int) -> ProfileFit:
        """A fit to all frames; with fewer drives beside the one that is reported on, stretches are left out."""
        fit = ProfileFit(self._segmenter, plan, total_length(self._frames), fewest_drives=fewest_drives + 1)
        with self._progress(title, "frames", len(self._frames)) as advance:
            fit.add_all(self._frames, advance)
        return fit

    def _measured(self, own: Best) -> CleanMeasurements:
        """What clean frames gave with a head; of the latest it is kept, as one that sees channels takes passes."""
        found = self._latest.pop(own.key, None) or self._measure(own)
        self._latest = dict([*self._latest.items()][1 - KEPT_MEASUREMENTS :]) | {own.key: found}
        return found

    def _measure(self, own: Best) -> CleanMeasurements:
        measured = self.taught if own.steps else self._measured_first
        assert measured.plan.learned is not None
        begun = measured.plan.learned
        head = Head(begun.head.branch, begun.head.kind, **own.head)
        growth = completing(measured.plan.growth) if own.steps else measured.plan.growth
        return measured.with_learned(LearnedPart(head, begun.opening), own.precaution_rate, growth)

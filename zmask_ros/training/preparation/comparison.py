"""How good the heads of a preparation are: where profiles are compared, and on what is held out for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np

from zmask_ros.defense import Defense, Profile
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.benign_sources import BenignPictures
from zmask_ros.training.margin import scores, weakest
from zmask_ros.training.preparation.attacked_frames import attacked_with, attacked_with_each
from zmask_ros.training.preparation.attackers import LASTING
from zmask_ros.training.preparation.budget import LOOKS, SHOWN_PATCHES, Budget
from zmask_ros.training.preparation.head_profiles import HeadProfiles
from zmask_ros.training.preparation.standing import ADAPTIVE_OTHERS, KNOWING, PLAIN, PatchFigures, Standing
from zmask_ros.training.preparation.state import Best, PreparationState
from zmask_ros.training.preparation.work import AttackedFrame, Hands
from zmask_ros.training.settings import PreparationSettings

Found = TypeVar("Found")
COMPARED_SEED, REPORTED_SEED = 1, 2
"""Of the places of patches on the frames."""


class Comparison:
    """Says what patches do under the profiles of heads, and what these do to clean frames.

    Args:
        segmenter: the network.
        profiles: makes the profiles, and knows the frames.
        settings: on how many frames.
        state: the patches so far.
        hands: judge.
        benign: pictures, of which some are compared on.
        budget: what there is time for.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        profiles: HeadProfiles,
        settings: PreparationSettings,
        state: PreparationState,
        hands: Hands,
        benign: BenignPictures,
        budget: Budget,
    ) -> None:
        self._segmenter, self._profiles, self._settings, self._state = segmenter, profiles, settings, state
        self._hands, self._benign, self._budget = hands, benign, budget
        self._pairs: dict[str, list[AttackedFrame]] = {}
        self._looks: dict[tuple[str, int], list[AttackedFrame]] = {}
        self._reports: dict[tuple[str, float | None], Standing] = {}

    def paste(self) -> None:
        """Make the frames with patches that profiles are compared on; once, before the first comparison."""
        frames, most = self._profiles.parts.compared, self._settings.compared_frames
        self._pairs = attacked_with_each(self._segmenter, self._state.patches, frames, most, COMPARED_SEED)

    @property
    def met(self) -> list[str]:
        """The newest adaptive patches, against all heads so far."""
        return [name for name in self._state.learned if name not in LASTING][-(SHOWN_PATCHES - len(LASTING)) :]

    @property
    def remembered(self) -> tuple[str, ...]:
        """The patches that heads are shown: those that know nothing of the defense, and the newest of the others."""
        return (*LASTING, *self.met)

    def standing(self, own: Best, profile: Profile, alarming: Profile, by_its_own: bool) -> Standing:
        """How good a head is where profiles are compared.

        Args:
            own: the head.
            profile: under which patches are judged.
            alarming: whose false alarms count.
            by_its_own: by the attackers of full strength who know it, too.
        """
        pairs = self._against(own, self._pairs, self._profiles.parts.compared, COMPARED_SEED)
        by_kind = self._hands.judge(profile, pairs if by_its_own else without_knowing(pairs))
        by_kind |= self.by_others(profile)
        alarms = self._false_alarms(alarming)
        return Standing(by_kind, alarms, alarms)

    def by_others(self, profile: Profile) -> dict[str, PatchFigures]:
        """What all adaptive patches do together, whomever each was made against; nothing where there is none.

        Not the worst of them: each head has one that passes it, and there all heads would be alike.
        """
        return self._by_others(profile, self._profiles.parts.compared, COMPARED_SEED)

    def reported(self, own: Best) -> Standing:
        """How good a head is on the frames that are held out for the report."""
        if own.key not in self._reports:
            self._reports[own.key] = self._find_reported(own)
        return self._reports[own.key]

    def weakest_patched(self, own: Best) -> float:
        """What nearly all frames score with patches that a head has learned from."""
        frames = self._profiles.parts.compared
        attacked = [look.attacked for name in self.remembered for look in self._looks_at(name, frames, COMPARED_SEED)]
        return weakest(scores(self._segmenter, self._profiles.judged(own), attacked))

    @cached_property
    def reported_images(self) -> tuple[np.ndarray, ...]:
        """What is held out for the report, uint8 [h, w, 3] RGB each."""
        return tuple(frame.image for frame in self._profiles.parts.reported)

    @cached_property
    def _reported_pairs(self) -> dict[str, list[AttackedFrame]]:
        most = self._budget.reported_frames
        return attacked_with_each(self._segmenter, self._state.patches, self.reported_images, most, REPORTED_SEED)

    def _find_reported(self, own: Best) -> Standing:
        profile, frames = self._profiles.as_saved(own), self.reported_images
        by_kind = self._hands.judge(profile, self._against(own, self._reported_pairs, frames, REPORTED_SEED))
        by_kind |= self._by_others(profile, frames, REPORTED_SEED) if self._state.rounds else {}
        found, parts = scores(self._segmenter, profile, frames), self._profiles.parts
        flagged = masked = 0
        # All of the drive has a say in the thresholds that are saved: each half is judged by those that know the other.
        for half in parts.halves:
            thresholds = Defense(self._segmenter, self._profiles.as_saved(own, half)).thresholds
            tested = [score for score, frame in zip(found, parts.reported, strict=True) if frame.group in half]
            flagged += sum(score > thresholds.attack for score in tested)
            masked += sum(score > thresholds.masking for score in tested)
        pictures = len(self._benign.compared)
        benign = self._flagged_pictures(profile) / pictures if pictures else None
        return Standing(by_kind, flagged / len(found), masked / len(found), benign)

    def _by_others(self, profile: Profile, frames: Sequence[np.ndarray], seed: int) -> dict[str, PatchFigures]:
        found = self._hands.judge(profile, {name: self._looks_at(name, frames, seed) for name in self.met}).values()
        return {ADAPTIVE_OTHERS: PatchFigures.mean([*found])} if found else {}

    def _against(
        self, own: Best, pairs: dict[str, list[AttackedFrame]], frames: Sequence[np.ndarray], seed: int
    ) -> dict[str, list[AttackedFrame]]:
        """``pairs``; where adaptive patches were made against this very head, with these instead of the others."""
        if not own.against:
            return pairs
        most = len(pairs[PLAIN])
        return without_knowing(pairs) | attacked_with_each(self._segmenter, own.against, frames, most, seed)

    def _looks_at(self, name: str, frames: Sequence[np.ndarray], seed: int) -> list[AttackedFrame]:
        """A few of the frames with a patch that heads learn from."""
        if (name, seed) not in self._looks:
            patch = self._state.learned[name]
            self._looks[name, seed] = attacked_with(self._segmenter, patch, frames, LOOKS, seed)
        return self._looks[name, seed]

    def _false_alarms(self, profile: Profile) -> float:
        """Share of the clean frames that are compared on, and of the benign pictures among them, that are flagged."""
        interval = profile.detector.threshold.interval
        exceeded, images = (0, 0) if interval is None else (interval.exceeded, interval.frames)
        return (exceeded + self._flagged_pictures(profile)) / max(images + len(self._benign.compared), 1)

    def _flagged_pictures(self, profile: Profile) -> int:
        """How many of the benign pictures that are compared on are flagged."""
        found = scores(self._segmenter, profile, self._benign.compared)
        return sum(score > profile.detector.threshold.value for score in found)


def without_knowing(by_kind: Mapping[str, Found]) -> dict[str, Found]:
    """What was found by kind of patch, but for those of attackers who know the very profile."""
    return {kind: found for kind, found in by_kind.items() if kind not in KNOWING}

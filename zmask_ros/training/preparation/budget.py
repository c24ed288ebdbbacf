"""How the time that a preparation is given is divided among its stages."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

from zmask_ros.training.benign_sources import BenignPictures
from zmask_ros.training.double_oracle import BENIGN_A_FRAME, PATCHED_SHARE
from zmask_ros.training.pipeline import PASSES_AN_ADVERSARIAL_STEP
from zmask_ros.training.preparation.attackers import KINDS, LASTING, ROUND_ATTACKERS, TIMED
from zmask_ros.training.preparation.standing import KNOWING
from zmask_ros.training.preparation.state import PreparationState
from zmask_ros.training.settings import LEAST_ADVERSARIAL_STEPS, PreparationSettings

PATCH_SHARE, PATCHES = 0.35, sum(TIMED.values())
"""Of the budget, for so many patches: profiles are compared on them, a head begins to learn from them, or they are made
anew."""
HURRIED_SHARE = 0.5
"""Of the budget, for patches that profiles are compared on, where there is no time for what makes them strong."""
FEWEST_PATCH_STEPS = 5
SCREEN_SHARE = 0.25
"""Of the budget, for a screen: less than it takes to train one are left to the head."""
FEWEST_ROUNDS = 2
"""Before a last lesson: the first round's head begins anew, too."""
LAST_LESSON_SHARE = 0.25
"""Of the budget, for a last lesson and patches against what came of it, at most."""
COMPARISONS = 4
"""What two heads and all patches after many rounds take, in comparisons before the first."""
LOOKS = 3
"""Frames with each patch that a head has learned from, on which a later one is tried."""
SHOWN_SHARE = 0.1
"""Of the budget, for showing the head clean frames and benign pictures."""
DRAWN_SHARE, SECONDS_A_DRAWN = 0.03, 0.6
"""Of the budget, for drawing other roads, and what one takes, about, whatever its size."""
LEAST_SHOWN = 20
"""Clean frames that it is shown at least."""
REPORT_SHARE = 0.25
"""Of the budget, for the check and the report at most."""
PASSES_A_REPORTED_FRAME = 5 * len(KINDS)
"""With each of the patches, alone, with the exact mask, and under two profiles, in forward passes."""
LEAST_REPORTED = 6
"""Attacked frames of each kind."""
SHOWN_BYTES, SHOWN_PATCHES = 3e9, len(LASTING) + len(KNOWING) + 3 * len(ROUND_ATTACKERS)
"""Memory for what it is shown of clean frames, and of so many patches; of more, the newest."""


class Budget:
    """What there is time and memory for.

    Args:
        seconds: in all; infinite: there is time for everything.
        settings: what is wanted.
        state: how far the preparation is, and what its pieces have taken so far.
        now: gives the seconds since it began.
        pass_seconds: gives those that a forward pass takes.
        step_seconds: gives those that an optimization step of one of `PATCHES` takes on the average.
        benign: pictures that are given.
        reported: number of clean frames that are held out for the report.
        draws: whether other roads can be drawn.
    """

    def __init__(
        self,
        seconds: float,
        settings: PreparationSettings,
        state: PreparationState,
        now: Callable[[], float],
        pass_seconds: Callable[[], float],
        step_seconds: Callable[[], float],
        benign: BenignPictures,
        reported: int,
        draws: bool,
    ) -> None:
        self.seconds = seconds
        self._settings, self._state, self._now = settings, state, now
        self._pass_seconds, self._step_seconds = pass_seconds, step_seconds
        self._benign, self._reported, self._draws = benign, reported, draws

    def patch_steps(self) -> int:
        """Of each patch that profiles are compared on."""
        most, least = self._settings.patch_steps, self._settings.least_patch_steps
        if math.isinf(self.seconds):
            return most
        step = max(self._step_seconds(), 1e-9)
        affordable = int(PATCH_SHARE * self.seconds / PATCHES / step)
        if affordable < least:
            hurried = int(HURRIED_SHARE * self.seconds / len(KINDS) / step)
            affordable = min(least, max(FEWEST_PATCH_STEPS, hurried))
        return min(most, affordable)

    def shown_frames(self, bytes_an_image: int) -> int:
        """Clean frames that the head is shown, each of whose images takes so many bytes."""
        images = SHOWN_BYTES / bytes_an_image
        held = self._frames_of(images, BENIGN_A_FRAME + PATCHED_SHARE * SHOWN_PATCHES)
        most = max(1, min(self._settings.shown_frames, held))
        if math.isinf(self.seconds):
            return most
        passes = SHOWN_SHARE * self.seconds / max(self._pass_seconds(), 1e-9)
        return min(most, max(LEAST_SHOWN, self._frames_of(passes, BENIGN_A_FRAME)))

    def _frames_of(self, images: float, a_frame: float) -> int:
        """Clean frames with ``a_frame`` images each that are ``images`` together with those of other roads."""
        others = len(self._benign.taught) + self.drawn_pictures()
        # Of other roads there are at most `BENIGN_A_FRAME` a frame.
        return int(max((images - others) / a_frame, images / (a_frame + BENIGN_A_FRAME)))

    def drawn_pictures(self) -> int:
        """Of other roads; the same on every machine: with another number the head is another one."""
        most = self._settings.drawn_pictures if self._draws else 0
        return most if math.isinf(self.seconds) else min(most, int(DRAWN_SHARE * self.seconds / SECONDS_A_DRAWN))

    @cached_property
    def reported_frames(self) -> int:
        """Attacked frames of each kind that are reported on, at most."""
        most = self._settings.reported_frames
        if math.isinf(self.seconds):
            return most
        frame = PASSES_A_REPORTED_FRAME * self._pass_seconds()
        return min(most, max(LEAST_REPORTED, int(REPORT_SHARE * self.seconds / max(frame, 1e-9))))

    @property
    def judges_heads(self) -> bool:
        """Whether patches are strong enough to tell a head that holds from one that they have not found a way past.

        On a published network a head that was trained in 20 minutes, against patches of 41 steps, was taken for better
        than the transferable one: against 120 steps it kept nothing away, and the other one nearly all.
        """
        return (self._state.patch_steps or 0) >= min(self._settings.least_patch_steps, self._settings.patch_steps)

    def goes_on(self) -> bool:
        """Whether there is time for a round; without a budget, whether rounds may make it better yet."""
        if not self.judges_heads:
            return False
        if math.isinf(self.seconds):
            return self._state.stale < self._settings.patience
        state, left = self._state, self._left_for_training()
        expected = state.round_seconds or 2 * state.patch_seconds + state.compare_seconds
        lesson = self._for_last_lesson()
        missing = max(0, FEWEST_ROUNDS - state.rounds) * expected
        return self._before_rounds() + expected + (lesson if lesson + missing <= left else 0.0) < left

    def _before_rounds(self) -> float:
        """Seconds that are needed before the first round: to make what a head learns from, and to show it roads."""
        if self._state.oracle_seconds:
            return 0.0
        missing = sum(kind not in self._state.learned for kind in LASTING)
        shown = min(SHOWN_SHARE * self.seconds, self._settings.shown_frames * BENIGN_A_FRAME * self._pass_seconds())
        return missing * self._state.patch_seconds + shown + SECONDS_A_DRAWN * self.drawn_pictures()

    def affords_last_lesson(self, more_seconds: float) -> bool:
        """Whether there have been enough rounds for a last lesson, and is time for it and for ``more_seconds``."""
        expected = self._for_last_lesson()
        enough = self._state.rounds >= FEWEST_ROUNDS
        return enough and expected > 0 and expected + more_seconds <= self._left_for_training()

    def _left_for_training(self) -> float:
        """Seconds from now on, until it has to end."""
        return self.for_training() - self._now()

    def for_training(self) -> float:
        """Seconds from the beginning of the preparation until training has to end."""
        return self.seconds - self._after_training() - self._for_screen()

    def _after_training(self) -> float:
        """Seconds that the check and the report will take, by those that comparisons and patches took."""
        if math.isinf(self.seconds):
            return 0.0
        compared = len(KINDS) * self._settings.compared_frames + len(self._benign.compared)
        # Two profiles, adaptive patches made anew, and what is the same for all profiles.
        attacked = (3 * len(KINDS) + len(KNOWING)) * min(self.reported_frames, self._reported)
        # Under both, and alone, with those that were made against other heads.
        attacked += 3 * LOOKS * len(self._state.learned)
        looks = attacked + 2 * (self._reported + len(self._benign.compared))
        return len(KNOWING) * self._state.patch_seconds + looks / compared * self._state.compare_seconds

    def _for_last_lesson(self) -> float:
        """Seconds that a last lesson takes; 0 where that is too much, or before anyone can tell."""
        state = self._state
        patches = len(KNOWING) * state.patch_seconds
        expected = state.lesson_seconds + patches + COMPARISONS * state.compare_seconds
        return expected if state.lesson_seconds and expected <= LAST_LESSON_SHARE * self.seconds else 0.0

    @property
    def _screen_steps_wanted(self) -> int:
        """Of a screen's training, if there is time for all of them; 0 where none is wanted."""
        return self._settings.screen_steps if self._settings.screen else 0

    def _for_screen(self) -> float:
        """Seconds of the budget that are for a screen."""
        if math.isinf(self.seconds) or not self._screen_steps_wanted:
            return 0.0
        share = SCREEN_SHARE * self.seconds
        return share if share >= LEAST_ADVERSARIAL_STEPS * PASSES_AN_ADVERSARIAL_STEP * self._pass_seconds() else 0.0

    def screen_steps(self) -> int:
        """Of a screen's training; 0 where there is no time for enough of them."""
        most = self._screen_steps_wanted
        if math.isinf(self.seconds):
            return most
        left = self.seconds - self._now() - self._after_training()
        step = PASSES_AN_ADVERSARIAL_STEP * self._pass_seconds()
        steps = min(most, int(left / max(step, 1e-9)))
        return steps if steps >= LEAST_ADVERSARIAL_STEPS else 0

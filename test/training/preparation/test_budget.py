"""How the time of a preparation is divided, by what a network takes: seconds of SINet on one core."""

import itertools

from zmask_ros.training.benign_sources import BenignPictures
from zmask_ros.training.preparation.attackers import KINDS, LASTING, TIMED
from zmask_ros.training.preparation.budget import PATCH_SHARE, PATCHES, Budget
from zmask_ros.training.preparation.standing import KNOWING
from zmask_ros.training.preparation.state import PreparationState
from zmask_ros.training.settings import PreparationSettings

SETTINGS = PreparationSettings()
PATCH, STEP = 60.0, 0.75


def budget(seconds: float, state: PreparationState) -> Budget:
    return Budget(seconds, SETTINGS, state, lambda: 600.0, lambda: 0.03, lambda: STEP, BenignPictures(), 90, True)


def compared(**known: float) -> PreparationState:
    """A preparation whose patches are made, and on which what fitting gave has been compared."""
    seconds = dict.fromkeys(KNOWING, PATCH)
    return PreparationState(patch_steps=80, knowing_seconds=seconds, compare_seconds=20.0, **known)


def test_each_patch_takes_about_as_long_as_one_that_is_timed() -> None:
    # What is compared on, what lasts, and what is made anew against the best.
    assert sum(TIMED.values()) == PATCHES == len(KINDS) + len(LASTING) + len(KNOWING)


def test_patches_take_their_share_by_what_a_step_takes() -> None:
    hour = budget(3600.0, PreparationState())
    assert SETTINGS.least_patch_steps < hour.patch_steps() < SETTINGS.patch_steps
    taken = PATCHES * hour.patch_steps() * STEP
    assert PATCH_SHARE * 3600 - PATCHES * STEP < taken <= PATCH_SHARE * 3600


def test_what_a_head_learns_from_is_only_made_where_a_round_fits_in_after_it() -> None:
    def shortest(state: PreparationState) -> int:
        return next(minutes for minutes in itertools.count(1) if budget(60.0 * minutes, state).goes_on())

    with_roads_shown = shortest(compared(oracle_seconds=80.0))
    assert shortest(compared()) * 60 >= with_roads_shown * 60 + len(LASTING) * PATCH

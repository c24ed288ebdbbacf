"""Which drives a demo is made of."""

from __future__ import annotations

import numpy as np

from support.recorded_drive import ATTACKED, PICTURE, SMALL
from zmask_ros.demo.scenario import CLEAN_FRAMES, Scenario, clean_drives


def test_the_default_scenario_shows_a_large_patch_for_a_good_part_of_the_drive() -> None:
    drive = Scenario(rate_hz=1.0, width=160, height=120).drive(PICTURE)
    covers = np.array([frame.patch_mask.mean() for frame in drive])
    assert (covers > 0.01).mean() >= 0.35
    assert covers.max() > 0.07
    assert (covers == 0).mean() >= 0.3


def test_the_picture_is_there_in_its_time_alone() -> None:
    drive, advert = SMALL.drive(PICTURE), SMALL.drive(None)
    shown = [index for index in range(len(drive)) if SMALL.shows_picture(index)]
    assert shown == list(ATTACKED)
    assert [index for index, frame in enumerate(drive) if frame.patch_mask.any()] == shown
    assert np.array_equal(drive[2].image, advert[2].image)
    assert len(drive) == SMALL.frames


def test_clean_drives_are_other_streets_with_every_carrier() -> None:
    scenario = Scenario(seed=201, width=64, height=48)
    drives = list(clean_drives(3, scenario))
    assert scenario.seed not in {drive.seed for drive in drives}
    assert {drive.carrier for drive in drives} == {None, "billboard", "truck"}
    assert {len(drive) for drive in drives} == {CLEAN_FRAMES}

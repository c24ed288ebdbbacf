"""How streaming is compared with the full analysis: counts by hand, behaviours, and a drive of the tiny network."""

import numpy as np
import pytest

from support import tiny_network
from zmask_ros.defense import load_profile
from zmask_ros.evaluation.performance.streaming import (
    BEHAVIOURS,
    EVASIONS,
    Behaviour,
    Comparison,
    Course,
    behaving,
    compare,
    longest_beginning,
    streaming_table,
    truck_drive,
    within_aims,
)
from zmask_ros.runtime.camera import DefendedCamera
from zmask_ros.segmenters import load_segmenter

YELLOW = np.full((16, 16, 3), (255, 255, 0), np.uint8)


def bits(text: str) -> list[bool]:
    return [letter == "1" for letter in text]


@pytest.mark.parametrize(
    ("stretches", "values", "expected"),
    [
        ("0011100", "0011100", 3),
        ("0011100", "0001100", 0),
        ("0011100", "1110000", 1),
        ("1101110", "1001100", 2),
        ("0000", "1111", 0),
        ("1111", "1111", 4),
    ],
)
def test_the_beginning_of_stretches_is_counted(stretches, values, expected):
    assert longest_beginning(bits(stretches), bits(values)) == expected


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    description = tiny_network.describe(tmp_path_factory.mktemp("tiny"))
    return DefendedCamera(load_segmenter(str(description), "cpu"), load_profile(tiny_network.fit(description)))


def drive(frames):
    return [(tiny_network.clean_image(3), np.zeros((48, 64), np.uint8))] * frames


def test_a_patch_that_stays_is_segmented_once_and_released_at_once(camera):
    stays = Behaviour("stays", lambda index, count: [(0.5, 0.33, 0.34)] if 2 <= index < 12 else [])
    compared = compare(camera, behaving(stays, drive(20), YELLOW, 30.0))
    full, streaming = compared.full, compared.streaming
    assert 0 <= compared.undefended <= 1
    assert full.recall == streaming.recall == 1.0
    assert (full.delay, full.release, full.false_alarms) == (0, 0, 0)
    assert (streaming.delay, streaming.release, streaming.false_alarms) == (0, 0, 0)
    assert (full.once, full.analysed) == (0.0, 1.0)
    assert streaming.once == pytest.approx(0.9)
    assert streaming.miou >= full.miou - 0.01


@pytest.mark.parametrize("behaviour", [*BEHAVIOURS, *EVASIONS], ids=lambda behaviour: behaviour.title)
def test_every_behaviour_shows_a_patch_between_clean_frames(behaviour):
    moments = list(behaving(behaviour, drive(50), YELLOW, 15.0))
    shares = [moment.patch.mean() for moment in moments]
    assert max(shares) > 0.02
    assert shares[:10] == [0.0] * 10
    assert shares[-10:] == [0.0] * 10
    for moment in moments:
        assert (moment.image[moment.patch] == (255, 255, 0)).all()
    assert moments[1].stamp_ns == round(1e9 / 15)


def test_a_truck_shows_the_picture_in_the_middle_of_the_drive():
    moments = list(truck_drive(6001, YELLOW, 1.0, 10.0))
    shown = [bool(moment.patch.any()) for moment in moments]
    assert not shown[0] and any(shown) and not shown[-1]


def test_what_misses_an_aim_says_so():
    good = Course(0.6, 1.0, 0, 0, 0, 0.0, 1.0)
    assert within_aims(good, Course(0.591, 0.991, 2, 5, 0, 0.9, 0.1))
    for bad in (
        Course(0.58, 1.0, 0, 0, 0, 0.9, 0.1),
        Course(0.6, 0.98, 0, 0, 0, 0.9, 0.1),
        Course(0.6, 1.0, 3, 0, 0, 0.9, 0.1),
        Course(0.6, 1.0, 0, 6, 0, 0.9, 0.1),
        Course(0.6, 1.0, 0, 0, 1, 0.9, 0.1),
    ):
        assert not within_aims(good, bad)
    table = streaming_table({"a": Comparison(0.3, good, good), "b": Comparison(0.3, good, bad)})
    assert [row[-1] for row in table.rows] == ["yes", "**no**"]

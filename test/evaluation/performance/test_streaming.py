"""How streaming is compared with the full analysis: counts by hand, behaviors, and a drive of the tiny network."""

import numpy as np
import pytest

from support import tiny_network
from zmask_ros.defense import load_profile
from zmask_ros.evaluation.performance.streaming import (
    BEHAVIORS,
    EVASIONS,
    Behavior,
    DriveFigures,
    StreamingComparison,
    compare,
    longest_start,
    patched_drive,
    streaming_table,
    truck_drive,
    within_targets,
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
    assert longest_start(bits(stretches), bits(values)) == expected


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    description = tiny_network.describe(tmp_path_factory.mktemp("tiny"))
    return DefendedCamera(load_segmenter(str(description), "cpu"), load_profile(tiny_network.fit(description)))


def drive(count):
    return [(tiny_network.clean_image(3), np.zeros((48, 64), np.uint8))] * count


def test_a_patch_that_stays_is_segmented_once_and_released_at_once(camera):
    stays = Behavior("stays", lambda index, count: [(0.5, 0.33, 0.34)])
    compared = compare(camera, patched_drive(stays, drive(20), YELLOW, 30.0))
    full, streaming = compared.full, compared.streaming
    assert 0 <= compared.undefended <= 1
    assert full.recall == streaming.recall == 1.0
    assert (full.delay, full.release, full.false_alarms) == (0, 0, 0)
    assert (streaming.delay, streaming.release, streaming.false_alarms) == (0, 0, 0)
    assert (full.once, full.analyzed) == (0.0, 1.0)
    assert streaming.once == pytest.approx(7 / 12), "the first three and two more are analyzed as a whole"
    assert streaming.miou >= full.miou - 0.01


@pytest.mark.parametrize("behavior", [*BEHAVIORS, *EVASIONS], ids=lambda behavior: behavior.title)
def test_every_behavior_shows_a_patch_between_clean_frames(behavior):
    frames = list(patched_drive(behavior, drive(50), YELLOW, 15.0))
    shares = [frame.patch.mean() for frame in frames]
    assert max(shares) > 0.02
    assert shares[:10] == [0.0] * 10
    assert shares[-10:] == [0.0] * 10
    for frame in frames:
        assert (frame.image[frame.patch] == (255, 255, 0)).all()
    assert frames[1].stamp_ns == round(1e9 / 15)


def test_a_truck_shows_the_picture_in_the_middle_of_the_drive():
    frames = list(truck_drive(6001, YELLOW, 1.0, 10.0))
    shown = [bool(frame.patch.any()) for frame in frames]
    assert not shown[0] and any(shown) and not shown[-1]


def test_what_misses_a_target_says_so():
    good = DriveFigures(0.6, 1.0, 0, 0, 0, 0.0, 1.0)
    assert within_targets(good, DriveFigures(0.591, 0.991, 2, 5, 0, 0.9, 0.1))
    for bad in (
        DriveFigures(0.58, 1.0, 0, 0, 0, 0.9, 0.1),
        DriveFigures(0.6, 0.98, 0, 0, 0, 0.9, 0.1),
        DriveFigures(0.6, 1.0, 3, 0, 0, 0.9, 0.1),
        DriveFigures(0.6, 1.0, 0, 6, 0, 0.9, 0.1),
        DriveFigures(0.6, 1.0, 0, 0, 1, 0.9, 0.1),
    ):
        assert not within_targets(good, bad)
    table = streaming_table({"a": StreamingComparison(0.3, good, good), "b": StreamingComparison(0.3, good, bad)})
    assert [row[-1] for row in table.rows] == ["yes", "**no**"]

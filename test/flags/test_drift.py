"""Levels of the distance from a profile, and what is said of it."""

import math

import pytest

from zmask_ros.flags.drift import Drift, DriftLevel, DriftLevels

LAYERS = {"shallow": 0.4, "deep": 1.7}


@pytest.mark.parametrize(
    ("distance", "level"),
    [
        (math.nan, DriftLevel.UNKNOWN),
        (0.0, DriftLevel.OK),
        (1.0, DriftLevel.OK),
        (1.01, DriftLevel.WARN),
        (1.5, DriftLevel.WARN),
        (1.51, DriftLevel.ERROR),
    ],
)
def test_a_level_is_left_above_its_bound(distance, level):
    assert Drift(distance, LAYERS).level(DriftLevels(1.0, 1.5)) is level


def test_who_is_warned_is_told_the_distance_the_layer_and_the_command():
    advice = Drift(1.2, LAYERS, 30).advice(DriftLevels())
    assert "1.20" in advice and "deep" in advice and "zmask prepare BAG --from" in advice
    assert "zmask prepare" not in Drift(0.5, LAYERS, 30).advice(DriftLevels())
    assert Drift(reason="no frame yet").advice(DriftLevels()) == "unknown: no frame yet"
    assert Drift().furthest == ""

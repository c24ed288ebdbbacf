"""The tables of parameters."""

from __future__ import annotations

import pytest

from zmask_ros.node.parameters.defense_node import CameraParameters, DefenseParameters
from zmask_ros.node.parameters.flag_recorder import FlagRecorderParameters
from zmask_ros.node.parameters.player import PlayerParameters
from zmask_ros.node.parameters.recorder import RecorderParameters
from zmask_ros.node.parameters.spec import declare, specs, take_integers_for_doubles
from zmask_ros.node.parameters.street_camera import StreetCameraParameters

TABLES = [
    DefenseParameters,
    CameraParameters,
    StreetCameraParameters,
    RecorderParameters,
    FlagRecorderParameters,
    PlayerParameters,
]


@pytest.mark.parametrize("table", TABLES)
def test_every_default_is_allowed(table: type) -> None:
    for spec in specs(table):
        assert spec.description.endswith("."), spec.name
        assert not spec.choices or spec.default in spec.choices
        assert spec.minimum is None or spec.default >= spec.minimum
        assert spec.maximum is None or spec.default <= spec.maximum


def test_an_integer_is_taken_for_a_double_and_nothing_else_is() -> None:
    rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)
    from rclpy.parameter import Parameter

    context = rclpy.Context()
    context.init(args=["--ros-args", "-p", "rate:=2", "-p", "clock_hz:=0"])
    node = rclpy.create_node("spec", context=context)
    try:
        read = declare(node, PlayerParameters)
        assert (read.rate, read.clock_hz, type(read.rate), type(read.clock_hz)) == (2.0, 0.0, float, float)
    finally:
        node.destroy_node()
        context.shutdown()
    context = rclpy.Context()
    context.init()
    node = rclpy.create_node("spec", context=context)
    try:
        declare(node, DefenseParameters)
        take_integers_for_doubles(node)
        set_to = {"threshold": 3, "attack_on_frames": 2}
        assert all(one.successful for one in node.set_parameters([Parameter(*item) for item in named(set_to)]))
        values = {name: node.get_parameter(name).value for name in set_to}
        assert values == set_to
        assert isinstance(values["threshold"], float) and isinstance(values["attack_on_frames"], int)
        wrong = {"threshold": -1, "masking_threshold": True, "attack_on_frames": 2.0, "drift_error": "1"}
        assert not any(one.successful for one in node.set_parameters([Parameter(*item) for item in named(wrong)]))
    finally:
        node.destroy_node()
        context.shutdown()


def named(values: dict[str, object]) -> list[tuple[str, None, object]]:
    return [(name, None, value) for name, value in values.items()]

"""The tables of parameters."""

from __future__ import annotations

import pytest

from zmask_ros.node.parameters.defense_node import CameraParameters, DefenseParameters
from zmask_ros.node.parameters.flag_recorder import FlagRecorderParameters
from zmask_ros.node.parameters.recorder import RecorderParameters
from zmask_ros.node.parameters.spec import specs
from zmask_ros.node.parameters.street_camera import StreetCameraParameters

TABLES = [DefenseParameters, CameraParameters, StreetCameraParameters, RecorderParameters, FlagRecorderParameters]


@pytest.mark.parametrize("table", TABLES)
def test_every_default_is_allowed(table: type) -> None:
    for spec in specs(table):
        assert spec.description.endswith("."), spec.name
        assert not spec.choices or spec.default in spec.choices
        assert spec.minimum is None or spec.default >= spec.minimum
        assert spec.maximum is None or spec.default <= spec.maximum

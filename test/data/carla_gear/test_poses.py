"""Poses as CARLA-GeAR writes them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmask_ros.data.carla_gear.poses import angles, camera_to_world, camera_xyzrpy, rotation

angle = st.floats(-math.pi, math.pi)


def test_angles_have_their_signs() -> None:
    forward, left, up = np.eye(3)
    np.testing.assert_allclose(rotation(0.0, 0.0, math.pi / 2) @ forward, left, atol=1e-12)
    np.testing.assert_allclose(rotation(0.0, math.pi / 2, 0.0) @ forward, up, atol=1e-12)
    np.testing.assert_allclose(rotation(math.pi / 2, 0.0, 0.0) @ left, up, atol=1e-12)
    np.testing.assert_allclose(
        rotation(0.3, 0.4, 0.5) @ forward, [math.cos(0.4) * math.cos(0.5), math.cos(0.4) * math.sin(0.5), math.sin(0.4)]
    )


@given(angle, st.floats(-math.pi / 2, math.pi / 2), angle)
def test_angles_undo_rotation(roll: float, pitch: float, yaw: float) -> None:
    turn = rotation(roll, pitch, yaw)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1.0)
    np.testing.assert_allclose(rotation(*angles(turn)), turn, atol=1e-7)


@given(st.tuples(*[st.floats(-100, 100)] * 3, *[st.floats(-1.5, 1.5)] * 3))
def test_camera_poses_survive_the_optical_frame(values: tuple[float, ...]) -> None:
    np.testing.assert_allclose(camera_xyzrpy(camera_to_world(np.array(values))), values, atol=1e-9)


def test_the_optical_axes_are_right_down_and_forward() -> None:
    matrix = camera_to_world(np.array([1.0, 2.0, 3.0, 0.0, 0.0, 0.0]))
    np.testing.assert_allclose(matrix[:3, 0], [0, -1, 0])
    np.testing.assert_allclose(matrix[:3, 1], [0, 0, -1])
    np.testing.assert_allclose(matrix[:3, 2], [1, 0, 0])
    np.testing.assert_allclose(matrix[:3, 3], [1, 2, 3])

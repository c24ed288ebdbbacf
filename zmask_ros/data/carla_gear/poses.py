"""Poses as CARLA-GeAR writes them: x, y, z in metres, then roll, pitch, yaw in radians.

The world and every body in it are right-handed: x forward, y to the left, z up. CARLA itself is left-handed; its sets
have y and yaw negated, and leave roll and pitch as they are. So, as seen from the body: roll leans to the right,
**pitch looks up** (a right-handed turn about y would look down), yaw turns to the left. The body is rolled first, then
pitched, then turned: ``R = Rz(yaw) Ry(-pitch) Rx(roll)``.

A camera's body looks along x. Its optical frame, in which pictures are projected, is that of ROS: x right, y down,
z forward.
"""

from __future__ import annotations

import numpy as np

BODY_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Turns a direction in a camera's optical frame into one in its body's frame."""
_UPRIGHT = 1e-9
"""Cosine of the pitch below which roll and yaw are the same turn."""


def rotation(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """float64 [3, 3], body to world; its columns are the body's forward, left and up."""
    cr, sr, cp, sp, cy, sy = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    turn = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    look_up = np.array([[cp, 0.0, -sp], [0.0, 1.0, 0.0], [sp, 0.0, cp]])
    lean = np.array([[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]])
    return np.asarray(turn @ look_up @ lean)


def angles(matrix: np.ndarray) -> tuple[float, float, float]:
    """Roll, pitch, yaw of a rotation [3, 3]: the inverse of `rotation`; straight up or down, roll is 0."""
    pitch = np.arctan2(matrix[2, 0], np.hypot(matrix[2, 1], matrix[2, 2]))
    if np.hypot(matrix[0, 0], matrix[1, 0]) < _UPRIGHT:
        return 0.0, float(pitch), float(np.arctan2(-matrix[0, 1], matrix[1, 1]))
    roll, yaw = np.arctan2(matrix[2, 1], matrix[2, 2]), np.arctan2(matrix[1, 0], matrix[0, 0])
    return float(roll), float(pitch), float(yaw)


def body_to_world(xyzrpy: np.ndarray) -> np.ndarray:
    """float64 [4, 4] of a pose [6]."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(*np.asarray(xyzrpy, float)[3:])
    matrix[:3, 3] = xyzrpy[:3]
    return matrix


def camera_to_world(xyzrpy: np.ndarray) -> np.ndarray:
    """float64 [4, 4], optical frame to world, of a camera's pose [6]."""
    matrix = body_to_world(xyzrpy)
    matrix[:3, :3] = matrix[:3, :3] @ BODY_FROM_OPTICAL
    return matrix


def camera_xyzrpy(to_world: np.ndarray) -> np.ndarray:
    """The pose float64 [6] of a camera, from its optical frame to world [4, 4]: the inverse of `camera_to_world`."""
    return np.array([*to_world[:3, 3], *angles(to_world[:3, :3] @ BODY_FROM_OPTICAL.T)])

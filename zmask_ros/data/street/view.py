"""The camera: its intrinsics, its motion, and the projection of one pose.

World: x along the street, y to the left, z up, metres.
Camera: x right, y down, z forward (ROS optical frame).
A pixel's center has integer coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def vec(x: float, y: float, z: float) -> np.ndarray:
    """A point or a direction, float64 [3]."""
    return np.array((x, y, z))


@dataclass(frozen=True)
class CameraIntrinsics:
    """A pinhole camera without distortion; all values in pixels, the center of the first pixel at (0, 0)."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @property
    def matrix(self) -> np.ndarray:
        """float64 [3, 3], camera coordinates to homogeneous pixels."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


class View:
    """One camera pose with its projection.

    Attributes:
        camera: intrinsics.
        pose: float64 [4, 4], camera to world, metres.
        position: float64 [3], of the camera in the world.
        matrix: float64 [3, 3], world directions to homogeneous pixels.
        forward: float64 [3], where the camera looks.
    """

    def __init__(self, camera: CameraIntrinsics, pose: np.ndarray) -> None:
        self.camera = camera
        self.pose = pose
        self.position = pose[:3, 3]
        self.matrix = camera.matrix @ pose[:3, :3].T
        self.forward = pose[:3, 2]

    def homogeneous(self, points: np.ndarray) -> np.ndarray:
        """World points float [n, 3] to [n, 3]: u * depth, v * depth, depth."""
        return (points - self.position) @ self.matrix.T

    def plane(self, origin: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
        """Homography float64 [3, 3] from (s, t, 1) on `origin + s across + t down` to pixels."""
        return self.matrix @ np.column_stack([across, down, origin - self.position])

    def horizon_row(self) -> float:
        """The row on which the horizon meets the middle column."""
        pitch = np.arcsin(np.clip(self.forward[2], -1, 1))
        return float(self.camera.cy + self.camera.fy * np.tan(pitch))

    def ground_row(self, depth: float) -> float:
        """The row of a point on the ground `depth` metres ahead, at the middle column."""
        return self.horizon_row() + self.camera.fy * float(self.position[2]) / depth


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Camera-to-world rotation; yaw turns left, pitch looks up, roll leans to the right. Radians."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    level_right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    level_down = np.cross(forward, level_right)
    right = np.cos(roll) * level_right + np.sin(roll) * level_down
    return np.column_stack([right, np.cross(forward, right), forward])


class Motion:
    """A smooth drive forward: varying speed, sway in the lane, slow turns, and a shaking pitch.

    Attributes:
        lane: y of the lane's middle, metres.
        speed: mean speed, metres a second.
    """

    def __init__(self, rng: np.random.Generator, lane: float, speed: tuple[float, float]) -> None:
        self.lane = lane
        self.speed = float(rng.uniform(*speed))
        self._height = rng.uniform(1.35, 1.75)
        self._pitch = np.radians(rng.uniform(-2.0, 2.5))
        self._sway = rng.uniform(0.1, 0.35), rng.uniform(6.0, 10.0), rng.uniform(0, 6.28)
        self._turn = np.radians(rng.uniform(0.8, 3.0)), rng.uniform(7.0, 13.0), rng.uniform(0, 6.28)
        self._surge = rng.uniform(0.05, 0.25), rng.uniform(5.0, 9.0), rng.uniform(0, 6.28)
        self._shake = np.radians(rng.uniform(0.05, 0.3)), rng.uniform(0, 6.28, 4)

    def travelled(self, seconds: float) -> float:
        """Metres along the street; grows strictly with time."""
        share, period, phase = self._surge
        rate = 2 * np.pi / period
        return self.speed * (seconds + share / rate * (np.sin(rate * seconds + phase) - np.sin(phase)))

    def pose(self, seconds: float) -> np.ndarray:
        """Camera to world, float64 [4, 4]."""
        sway, period, phase = self._sway
        offset = sway * np.sin(2 * np.pi * seconds / period + phase)
        drift = sway * 2 * np.pi / period * np.cos(2 * np.pi * seconds / period + phase) / self.speed
        turn, turn_period, turn_phase = self._turn
        yaw = np.arctan(drift) + turn * np.sin(2 * np.pi * seconds / turn_period + turn_phase)
        shake, phases = self._shake
        bumps = np.sin(2 * np.pi * np.array([0.6, 1.3, 2.1, 3.2]) * seconds + phases) @ [0.5, 0.4, 0.25, 0.15]
        pose = np.eye(4)
        pose[:3, :3] = _rotation(yaw, self._pitch + shake * bumps, 0.8 * shake * np.sin(2.7 * seconds + phases[1]))
        pose[:3, 3] = self.travelled(seconds), self.lane + offset, self._height + 0.012 * bumps
        return pose

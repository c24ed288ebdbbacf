"""Drives through the street world as scenes of CARLA-GeAR."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from zmask_ros.data.carla_gear.poses import angles, camera_xyzrpy
from zmask_ros.data.carla_gear.reader import BILLBOARD_KEYS, GearCamera, GearFrame, GearPanel, GearPoses
from zmask_ros.data.street import StreetDrive


def scene_name(drive: StreetDrive, number: int) -> str:
    """``billboard01`` and so on, ``truck01``, or ``no_billboard``."""
    return "no_billboard" if drive.carrier is None else f"{drive.carrier}{number:02d}"


def gear_camera(drive: StreetDrive) -> GearCamera:
    """The camera of a drive; as CARLA-GeAR wants it, it looks along the middle of the image."""
    camera = drive.camera
    return GearCamera(camera.width, camera.height, 2.0 * math.atan(camera.width / 2.0 / camera.fx))


def gear_panel(drive: StreetDrive) -> GearPanel:
    """The size of the picture that a drive's carrier shows; a billboard's is that of CARLA-GeAR itself."""
    if drive.carrier != "truck":
        return GearPanel()
    top_left, top_right, _, bottom_left = drive.panels(0.0)[0]
    width, height = float(np.linalg.norm(top_right - top_left)), float(np.linalg.norm(bottom_left - top_left))
    return GearPanel(width, height, (0.0, width / 2, height / 2))


def gear_frames(drive: StreetDrive) -> Iterator[GearFrame]:
    """The frames of a drive with the poses of the two nearest panels."""
    panel = gear_panel(drive)
    for frame in drive:
        along = sorted(drive.panels(frame.index / drive.rate_hz), key=lambda corners: float(corners[0, 0]))
        billboards = tuple(panel_pose(corners, panel) for corners in along[: len(BILLBOARD_KEYS)])
        yield GearFrame(frame.index, frame.image, frame.labels, GearPoses(camera_xyzrpy(frame.pose), billboards))


def panel_pose(corners: np.ndarray, panel: GearPanel) -> np.ndarray:
    """The pose float64 [6] of the billboard whose picture has these corners [4, 3], from top left clockwise."""
    left, up = (side / np.linalg.norm(side) for side in (corners[0] - corners[1], corners[0] - corners[3]))
    turn = np.column_stack([np.cross(left, up), left, up])
    return np.array([*(corners[0] - turn @ panel.offset), *angles(turn)])

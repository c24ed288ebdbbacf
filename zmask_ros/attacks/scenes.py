"""Drives past a panel whose place in the world is known, as frames to attack with a patch on that panel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zmask_ros.attacks.frames import AttackFrame
from zmask_ros.attacks.projection import PanelView, PinholeCamera, ScenePlacement, panel_corners
from zmask_ros.data.carla_gear.poses import camera_to_world
from zmask_ros.data.carla_gear.reader import CarlaGear
from zmask_ros.data.street import StreetDrive
from zmask_ros.errors import AttackError
from zmask_ros.progress import Progress, silent

LEAST_SHARE = 0.005
"""Share of the image that the panel must take for a frame to count: smaller ones teach a patch nothing."""
BLANK = np.full((2, 4, 3), 128, np.uint8)
"""What a street's panels show until the patch is projected onto them."""


@dataclass(frozen=True)
class AttackScene:
    """Frames of a scene, and in each the view of the panel that is largest there."""

    frames: tuple[AttackFrame, ...]
    views: tuple[PanelView, ...]

    @property
    def placement(self) -> ScenePlacement:
        """Puts a patch on the panel."""
        return ScenePlacement(self.views)


def joined(scenes: Sequence[AttackScene]) -> AttackScene:
    """The frames of several scenes as one, for a patch that works in all of them."""
    frames = tuple(frame for scene in scenes for frame in scene.frames)
    return AttackScene(frames, tuple(view for scene in scenes for view in scene.views))


def street_scene(drive: StreetDrive, most: int, progress: Progress = silent) -> AttackScene:
    """Frames of a street drive, with what stands before the panel known exactly.

    Frames that turn out to have the panel hidden, behind a house for example, are left out.

    Args:
        drive: one that shows a picture on its panels (`BLANK`), since it marks nothing but pictures.
        most: so many frames at most, evenly over those that show a panel.
        progress: counts frames.

    Raises:
        AttackError: no frame shows a panel that is large enough.
    """
    camera = drive.camera
    pinhole = PinholeCamera.of_integer_centers(
        (camera.height, camera.width), camera.fx, camera.fy, camera.cx, camera.cy
    )

    def view(index: int) -> PanelView | None:
        seconds = index / drive.rate_hz
        return _largest([PanelView(pinhole, drive.motion.pose(seconds), panel) for panel in drive.panels(seconds)])

    def frame(index: int, seen: PanelView) -> tuple[AttackFrame, PanelView]:
        shown = drive[index]
        return (shown.image, shown.labels), replace(seen, visible=shown.patch_mask & seen.outlined())

    return _scene(len(drive), most, view, frame, progress)


def gear_scene(gear: CarlaGear, most: int, progress: Progress = silent) -> AttackScene:
    """Frames of a CARLA-GeAR scene; such a set does not tell what stands before the billboard: the patch covers it.

    Args:
        gear: one split of a scene.
        most: so many frames at most, evenly over those that show a billboard.
        progress: counts frames.

    Raises:
        AttackError: no frame shows a billboard that is large enough.
        ZmaskError: a picture cannot be read.
    """
    camera, panel = gear.camera, gear.panel
    pinhole = PinholeCamera(
        (camera.height, camera.width), (camera.focal, camera.focal), (camera.width / 2, camera.height / 2)
    )

    def view(index: int) -> PanelView | None:
        poses = gear.poses(index)
        if poses.camera is None:
            return None
        pose = camera_to_world(poses.camera)
        boards = (panel_corners(board, panel.width, panel.height, panel.offset) for board in poses.billboards)
        return _largest([PanelView(pinhole, pose, corners) for corners in boards])

    def frame(index: int, seen: PanelView) -> tuple[AttackFrame, PanelView]:
        shown = gear[index]
        return (shown.image, shown.labels), seen

    return _scene(len(gear), most, view, frame, progress)


def evenly(length: int, wanted: int) -> list[int]:
    """Up to ``wanted`` indices that lie evenly over ``length``, both ends among them."""
    return [int(index) for index in np.unique(np.linspace(0, length - 1, min(length, wanted)).round())]


def _scene(
    length: int,
    most: int,
    view: Callable[[int], PanelView | None],
    frame: Callable[[int, PanelView], tuple[AttackFrame, PanelView]],
    progress: Progress,
) -> AttackScene:
    """Up to ``most`` frames, evenly over those whose panel is large enough, less those that have it hidden."""
    views = ((index, view(index)) for index in range(length))
    large = [(index, seen) for index, seen in views if seen is not None and seen.share() >= LEAST_SHARE]
    found = []
    with progress("Looking", "frames", most) as advance:
        for chosen in evenly(len(large), most) if large else ():
            shown, seen = frame(*large[chosen])
            if seen.visible is None or seen.visible.mean() >= LEAST_SHARE:
                found.append((shown, seen))
            advance()
    if not found:
        raise AttackError(
            f"No frame of the scene shows a panel on at least {LEAST_SHARE:.1%} of the image: choose another scene."
        )
    frames, seen_in = zip(*found, strict=True)
    return AttackScene(frames, seen_in)


def _largest(views: Sequence[PanelView]) -> PanelView | None:
    return max(views, key=PanelView.share, default=None)

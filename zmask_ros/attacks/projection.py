"""Where a picture with a known place in the world is seen: scene-specific attacks by projection.

The chain is that of Nesti et al., WACV 2022: corners in the world, camera extrinsics, intrinsics, homography. Here
with all three angles, panels that reach behind the camera, and things that stand before them.

Frames, axes and units:

- *World*: right-handed, z up, metres. Poses of six numbers (x, y, z, roll, pitch, yaw; metres and radians) are those
  of `zmask_ros.data.carla_gear.poses`: bodies have x forward, y left, z up.
- *Panel*: its body frame is that of its viewers: x away from them, y to their left, z up. Its corners are always in
  the order top left, top right, bottom right, bottom left, as the viewers see them.
- *Camera*: the optical frame of ROS: x right, y down, z forward, metres. Its pose is optical frame to world, [4, 4].
- *Image*: pixels, x right, y down; the center of the first pixel is at (0.5, 0.5), so that coordinates scale with the
  image. (The street world and ROS put it at (0, 0); `PinholeCamera.of_integer_centers` takes theirs.)
- *Patch plane*: patch pixels, origin in the patch's center, x right, y down, as in `Transforms`.

A homography from here keeps its scale: its third coordinate is the depth in metres, negative behind the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from zmask_ros.attacks.eot import Transforms
from zmask_ros.attacks.pasting import project, visible_part
from zmask_ros.data.carla_gear.poses import body_to_world


@dataclass(frozen=True)
class PinholeCamera:
    """A pinhole camera without distortion; all in pixels, the center of the first pixel at (0.5, 0.5).

    ``size`` is (height, width), ``focal`` and ``center`` are (x, y).
    """

    size: tuple[int, int]
    focal: tuple[float, float]
    center: tuple[float, float]

    @staticmethod
    def of_integer_centers(size: tuple[int, int], fx: float, fy: float, cx: float, cy: float) -> PinholeCamera:
        """A camera from the values of ROS' camera_info, which puts the center of the first pixel at (0, 0)."""
        return PinholeCamera(size, (fx, fy), (cx + 0.5, cy + 0.5))

    def resized(self, size: tuple[int, int]) -> PinholeCamera:
        """The same camera where its images are resized to ``size`` (height, width)."""
        y, x = size[0] / self.size[0], size[1] / self.size[1]
        return PinholeCamera(size, (self.focal[0] * x, self.focal[1] * y), (self.center[0] * x, self.center[1] * y))

    @property
    def matrix(self) -> np.ndarray:
        """float64 [3, 3], optical frame to homogeneous pixels."""
        return np.array([[self.focal[0], 0.0, self.center[0]], [0.0, self.focal[1], self.center[1]], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class PanelView:
    """One camera's view of a panel.

    Attributes:
        camera: intrinsics.
        pose: float64 [4, 4], the camera's optical frame to world.
        panel: float64 [4, 3], corners in world metres; a parallelogram.
        visible: bool [H, W] at the camera's size, where the panel is seen and nothing stands before it; None: nothing
            is known to stand before it.
    """

    camera: PinholeCamera
    pose: np.ndarray
    panel: np.ndarray
    visible: np.ndarray | None = None

    def homography(self, patch_size: tuple[int, int], image_size: tuple[int, int] | None = None) -> Tensor:
        """float64 [3, 3], patch plane to image pixels; the third coordinate is the depth in metres.

        ``patch_size`` and ``image_size`` are (height, width); None takes the camera's own.
        """
        camera = self.camera.resized(image_size or self.camera.size)
        top_left, across, down = self.panel[0], self.panel[1] - self.panel[0], self.panel[3] - self.panel[0]
        center = top_left + (across + down) / 2
        to_world = np.column_stack([across / patch_size[1], down / patch_size[0], center - self.pose[:3, 3]])
        return torch.from_numpy(camera.matrix @ self.pose[:3, :3].T @ to_world)

    def share(self) -> float:
        """Share of the image that the panel takes, 0..1, whatever stands before it; 0 where it shows its back."""
        return float(cv2.contourArea(self._outline())) / (self.camera.size[0] * self.camera.size[1])

    def outlined(self) -> np.ndarray:
        """Bool [H, W] at the camera's size: the pixels that the panel touches, whatever stands before it."""
        mask = np.zeros(self.camera.size, np.uint8)
        # OpenCV's drawing has the center of the first pixel at (0, 0), and four bits for parts of a pixel.
        fixed = np.rint((self._outline() - 0.5) * 16).astype(np.int32)
        return cv2.fillConvexPoly(mask, fixed, 1, cv2.LINE_8, 4) > 0 if len(fixed) else mask > 0

    def _outline(self) -> np.ndarray:
        """float32 [n, 2]: the corners of what the image shows of the panel; none where it shows its back."""
        homography = self.homography((1, 1))
        outline = project(homography, visible_part(homography, (1, 1))).numpy().astype(np.float32)
        if len(outline) < 3 or torch.linalg.det(homography) <= 0:
            return np.zeros((0, 2), np.float32)
        height, width = self.camera.size
        image = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
        _, part = cv2.intersectConvexConvex(outline, image)
        return np.zeros((0, 2), np.float32) if part is None else np.asarray(part).reshape(-1, 2)


@dataclass(frozen=True)
class ScenePlacement:
    """A patch on one panel of a scene; ``views`` has one view of it for each frame, in their order."""

    views: Sequence[PanelView]

    def place(
        self, transforms: Transforms, chosen: Tensor, image_size: tuple[int, int], patch_size: tuple[int, int]
    ) -> Transforms:
        """The panel as each of the chosen frames sees it, less what stands before it."""
        views = [self.views[index] for index in chosen.tolist()]
        homography = torch.stack([view.homography(patch_size, image_size) for view in views])
        return replace(transforms, homography=homography, visible=_visible(views, image_size))


def panel_corners(
    xyzrpy: np.ndarray, width: float, height: float, offset: tuple[float, float, float] | None = None
) -> np.ndarray:
    """float64 [4, 3]: the corners of a panel in world metres.

    Args:
        xyzrpy: the pose of what carries it.
        width, height: its size, metres, > 0.
        offset: its top left corner in the carrier's frame, metres; None puts its center at the carrier's origin.
    """
    x, y, z = offset or (0.0, width / 2, height / 2)
    corners = np.array([(x, y, z), (x, y - width, z), (x, y - width, z - height), (x, y, z - height)])
    to_world = body_to_world(xyzrpy)
    return np.asarray(corners @ to_world[:3, :3].T + to_world[:3, 3])


def _visible(views: Sequence[PanelView], size: tuple[int, int]) -> Tensor | None:
    """How much of each pixel the patch may cover, float [B, H, W] in 0..1; None where nothing is known of any view."""
    if all(view.visible is None for view in views):
        return None
    wholly = np.ones(size, bool)
    shares = (np.asarray(wholly if view.visible is None else view.visible, np.float32) for view in views)
    resized = (cv2.resize(share, (size[1], size[0]), interpolation=cv2.INTER_AREA) for share in shares)
    return torch.stack([torch.from_numpy(share) for share in resized])

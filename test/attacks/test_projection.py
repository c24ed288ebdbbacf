"""Where a panel with a place in the world is seen, held against sums done by hand and against OpenCV."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.neighbourly import apply_patch
from zmask_ros.attacks.eot import Transforms
from zmask_ros.attacks.pasting import NEAR, project, visible_part
from zmask_ros.attacks.projection import PanelView, PinholeCamera, ScenePlacement, panel_corners
from zmask_ros.data.carla_gear.poses import camera_to_world, rotation

CAMERA = PinholeCamera(size=(480, 640), focal=(500.0, 500.0), center=(320.0, 240.0))
AT_ORIGIN = camera_to_world(np.zeros(6))
CORNERS = torch.tensor([[-50.0, -25.0], [50.0, -25.0], [50.0, 25.0], [-50.0, 25.0]], dtype=torch.float64)
"""Of a patch of 50 x 100 pixels."""
angle = st.floats(-math.pi, math.pi)


def view(xyzrpy: tuple[float, ...], width: float = 4.0, height: float = 2.0, **more: np.ndarray) -> PanelView:
    return PanelView(CAMERA, AT_ORIGIN, panel_corners(np.array(xyzrpy), width, height), **more)


def seen_at(panel: PanelView) -> np.ndarray:
    return project(panel.homography((50, 100)), CORNERS).numpy()


def transforms(homography: torch.Tensor, visible: torch.Tensor | None = None) -> Transforms:
    one = torch.ones(1, dtype=torch.float64)
    return Transforms(homography[None], one * 0, one, one * 0, one * 0, visible=visible)


def pasted(panel: PanelView, patch_size: tuple[int, int] = (50, 100)) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask after a white patch has been put into a black picture of the camera's size."""
    chosen = ScenePlacement([panel]).place(
        transforms(torch.eye(3, dtype=torch.float64)), torch.tensor([0]), panel.camera.size, patch_size
    )
    image, mask = apply_patch(torch.zeros(1, 3, *panel.camera.size), torch.ones(3, *patch_size), chosen)
    return image[0, 0].numpy(), mask[0, 0].bool().numpy()


def test_a_panel_straight_ahead_is_where_it_is_by_hand() -> None:
    # 4 m x 2 m, its centre 10 m ahead and 1 m to the left: 500 px / 10 m = 50 px a metre, so 200 x 100 px; its centre
    # is 50 px left of the image's: u = 320 - 50 = 270, v = 240. A patch pixel of 4 m / 100 is 2 px wide and high.
    homography = view((10.0, 1.0, 0.0, 0.0, 0.0, 0.0)).homography((50, 100))
    by_hand = [[20.0, 0.0, 2700.0], [0.0, 20.0, 2400.0], [0.0, 0.0, 10.0]]
    np.testing.assert_allclose(homography, by_hand, atol=1e-9)
    np.testing.assert_allclose(
        seen_at(view((10.0, 1.0, 0.0, 0.0, 0.0, 0.0))), [(170, 190), (370, 190), (370, 290), (170, 290)], atol=1e-9
    )


def test_a_turned_panel_is_where_it_is_by_hand() -> None:
    # Turned to the left by 30 degrees, its left edge comes nearer by 2 m sin 30 = 1 m and moves to y = 2 m cos 30 =
    # sqrt(3) m, its right edge goes away alike. At depth 9: u = 320 - 500 sqrt(3) / 9, v = 240 -+ 500 / 9; at depth 11
    # likewise with the other signs.
    near, far, side = 500 / 9, 500 / 11, math.sqrt(3)
    by_hand = [
        (320 - side * near, 240 - near),
        (320 + side * far, 240 - far),
        (320 + side * far, 240 + far),
        (320 - side * near, 240 + near),
    ]
    np.testing.assert_allclose(seen_at(view((10.0, 0.0, 0.0, 0.0, 0.0, math.radians(30)))), by_hand, atol=1e-9)


def test_a_panel_pitched_up_leans_its_top_towards_its_viewers() -> None:
    # The pose's x axis, away from the viewers, turns up by 30 degrees, and so its z axis turns towards them: the top,
    # 1 m up, comes nearer by sin 30 = 0.5 m, and is cos 30 high; the bottom goes away alike.
    top, bottom = 500 / 9.5, 500 / 10.5
    rise = math.cos(math.radians(30))
    by_hand = [
        (320 - 2 * top, 240 - rise * top),
        (320 + 2 * top, 240 - rise * top),
        (320 + 2 * bottom, 240 + rise * bottom),
        (320 - 2 * bottom, 240 + rise * bottom),
    ]
    np.testing.assert_allclose(seen_at(view((10.0, 0.0, 0.0, 0.0, math.radians(30), 0.0))), by_hand, atol=1e-9)


def test_a_rolled_panel_leans_to_the_right() -> None:
    corners = seen_at(view((10.0, 0.0, 0.0, math.radians(90), 0.0, 0.0)))
    np.testing.assert_allclose(corners, [(370, 140), (370, 340), (270, 340), (270, 140)], atol=1e-9)


def test_an_offset_is_the_top_left_corner() -> None:
    corners = panel_corners(np.array([5.0, 6.0, 7.0, 0.0, 0.0, 0.0]), 7.4, 3.7, (0.0, 3.6, 1.85))
    by_hand = [(5.0, 9.6, 8.85), (5.0, 2.2, 8.85), (5.0, 2.2, 5.15), (5.0, 9.6, 5.15)]
    np.testing.assert_allclose(corners, by_hand)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.floats(8, 60), st.floats(-6, 6), st.floats(-3, 6)),
    st.tuples(angle, angle, angle),
    st.tuples(*[st.floats(-0.4, 0.4)] * 3),
)
def test_corners_are_those_of_opencv(
    place: tuple[float, ...], turn: tuple[float, ...], camera_turn: tuple[float, ...]
) -> None:
    pose = camera_to_world(np.array([0.5, -0.3, 1.4, *camera_turn]))
    panel = PanelView(CAMERA, pose, panel_corners(np.array([*place, *turn]), 4.0, 2.0))
    to_camera = np.linalg.inv(pose)
    if (panel.panel @ to_camera[2, :3] + to_camera[2, 3]).min() < 0.5:
        return
    turn_vector, _ = cv2.Rodrigues(to_camera[:3, :3])
    expected, _ = cv2.projectPoints(panel.panel, turn_vector, to_camera[:3, 3], CAMERA.matrix, None)
    np.testing.assert_allclose(seen_at(panel), expected[:, 0], atol=1e-5)


@given(angle, angle, angle, st.floats(-50, 50), st.floats(-50, 50))
def test_what_turns_and_moves_with_the_camera_looks_the_same(
    roll: float, pitch: float, yaw: float, x: float, y: float
) -> None:
    still = view((10.0, 1.0, 0.5, 0.1, 0.2, 0.3))
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation(roll, pitch, yaw), (x, y, 1.0)
    moved = PanelView(CAMERA, motion @ AT_ORIGIN, still.panel @ motion[:3, :3].T + motion[:3, 3])
    np.testing.assert_allclose(moved.homography((50, 100)), still.homography((50, 100)), atol=1e-6)


@given(st.integers(60, 2000), st.integers(60, 2000))
def test_resized_images_rescale_focal_length_and_centre(height: int, width: int) -> None:
    panel = view((10.0, 1.0, 0.5, 0.1, 0.2, 0.3))
    homography = panel.homography((50, 100), (height, width))
    scaled = seen_at(panel) * (width / 640, height / 480)
    np.testing.assert_allclose(project(homography, CORNERS), scaled, rtol=1e-9)


def test_half_the_resolution_halves_focal_length_and_centre() -> None:
    half = CAMERA.resized((240, 320))
    assert (half.focal, half.center, half.size) == ((250.0, 250.0), (160.0, 120.0), (240, 320))
    squeezed = CAMERA.resized((480, 320))
    assert (squeezed.focal, squeezed.center) == ((250.0, 500.0), (160.0, 240.0))


def test_integer_pixel_centres_are_half_a_pixel_off() -> None:
    assert PinholeCamera.of_integer_centers((480, 640), 500.0, 500.0, 319.5, 239.5) == CAMERA


def test_the_mask_is_the_projected_outline() -> None:
    image, mask = pasted(view((10.0, 1.0, 0.0, 0.0, 0.0, 0.0)))
    expected = np.zeros((480, 640), bool)
    expected[190:290, 170:370] = True
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_allclose(image, expected.astype(np.float32), atol=1e-6)


def test_a_panel_behind_the_camera_is_not_seen() -> None:
    panel = view((-10.0, 1.0, 0.0, 0.0, 0.0, 0.0))
    assert panel.share() == 0.0
    assert not panel.outlined().any()
    assert len(visible_part(panel.homography((50, 100)), (50, 100))) == 0
    image, mask = pasted(panel)
    assert not image.any()
    assert not mask.any()


def test_the_back_of_a_panel_does_not_count() -> None:
    assert view((10.0, 0.0, 0.0, 0.0, 0.0, math.pi)).share() == 0.0
    assert view((10.0, 0.0, 0.0, 0.0, 0.0, 0.0)).share() == pytest.approx(200 * 100 / (640 * 480), rel=1e-5)


def test_a_panel_partly_behind_the_camera_is_cut_there() -> None:
    # A wall along the right side, 3 m away, from 6 m behind the camera to 14 m before it, 2 m high: of the image it
    # takes the columns right of u = 320 + 500 * 3 / 14, between v = 240 -+ 500 / depth = 240 -+ (u - 320) / 3.
    wall = view((4.0, -3.0, 0.0, 0.0, 0.0, -math.pi / 2), width=20.0)
    homography = wall.homography((20, 200))
    part = visible_part(homography, (20, 200))
    assert len(part) == 4
    assert part[:, 0].min() == pytest.approx(-100.0)
    assert part[:, 0].max() == pytest.approx(100 - 10 * (6 + NEAR))
    v, u = np.mgrid[0:480, 0:640] + 0.5
    expected = (u >= 320 + 1500 / 14) & (np.abs(v - 240) <= (u - 320) / 3)
    _, mask = pasted(wall, (20, 200))
    assert (mask != expected).mean() < 1e-3
    assert (wall.outlined() != expected).mean() < 5e-3
    assert wall.share() == pytest.approx(expected.mean(), rel=0.01)


def test_what_stands_before_the_panel_stays() -> None:
    visible = np.ones((480, 640), bool)
    visible[:, 300:] = False
    image, mask = pasted(view((10.0, 1.0, 0.0, 0.0, 0.0, 0.0), visible=visible))
    expected = np.zeros((480, 640), bool)
    expected[190:290, 170:300] = True
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_allclose(image, expected.astype(np.float32), atol=1e-6)


def test_masks_follow_the_resolution_and_views_without_one_hide_nothing() -> None:
    visible = np.zeros((480, 640), bool)
    visible[:, :320] = True
    views = [view((10.0, 0.0, 0.0, 0.0, 0.0, 0.0), visible=visible), view((10.0, 0.0, 0.0, 0.0, 0.0, 0.0))]
    drawn = transforms(torch.eye(3, dtype=torch.float64))
    placed = ScenePlacement(views).place(drawn, torch.tensor([1, 0]), (120, 160), (50, 100))
    assert placed.visible is not None
    assert placed.visible.shape == (2, 120, 160)
    assert placed.visible[0].min() == 1
    assert placed.visible[1, :, :80].min() == 1
    assert placed.visible[1, :, 80:].max() == 0
    assert ScenePlacement(views).place(drawn, torch.tensor([1]), (120, 160), (50, 100)).visible is None


def test_gradients_reach_the_visible_pixels_of_a_patch_only() -> None:
    wall = view((4.0, -3.0, 0.0, 0.0, 0.0, -math.pi / 2), width=20.0)
    patch = torch.full((3, 20, 200), 0.5, requires_grad=True)
    image, _ = apply_patch(torch.zeros(1, 3, 480, 640), patch, transforms(wall.homography((20, 200))))
    image.sum().backward()
    assert patch.grad is not None
    assert patch.grad[:, :, :100].abs().sum() > 0
    assert patch.grad[:, :, 145:].abs().sum() == 0
    assert torch.isfinite(patch.grad).all()

"""Scenes: street drives and exported sets, read back, projected onto, and attacked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from support.neighbourly import RECIPE, apply_patch, segmenter
from zmask_ros.attacks import Recipe, train_patch
from zmask_ros.attacks.eot import Transforms
from zmask_ros.attacks.pasting import to_tensor, to_uint8
from zmask_ros.attacks.projection import PanelView, PinholeCamera, ScenePlacement, panel_corners
from zmask_ros.attacks.scenes import BLANK, LEAST_SHARE, gear_scene, street_scene
from zmask_ros.cli.main import zmask
from zmask_ros.data.carla_gear.from_street import gear_camera, gear_frames, gear_panel
from zmask_ros.data.carla_gear.poses import camera_to_world
from zmask_ros.data.carla_gear.reader import CarlaGear
from zmask_ros.data.street import StreetDrive
from zmask_ros.errors import AttackError

SEED, FRAMES = 5, 10
SIZE = (480, 640)
BUILDING = 1


def quarters() -> np.ndarray:
    """Red, green over blue, white."""
    picture = np.full((100, 200, 3), 255, np.uint8)
    picture[:50, :100], picture[:50, 100:], picture[50:, :100] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return picture


def paste_on_panel(image: np.ndarray, patch: np.ndarray, view: PanelView) -> tuple[np.ndarray, np.ndarray]:
    """Put a patch on the panel as one camera sees it, in its own colors.

    Args:
        image: uint8 [H, W, 3] of the camera, of any resolution.
        patch: uint8 [h, w, 3].
        view: of the panel in this image.

    Returns:
        a new image, uint8 [H, W, 3], and a mask, bool [H, W], of the patch's visible pixels.
    """
    one = torch.ones(1, dtype=torch.float64)
    plain = Transforms(torch.eye(3, dtype=torch.float64)[None], one * 0, one, one * 0, one * 0)
    sizes = (image.shape[0], image.shape[1]), (patch.shape[0], patch.shape[1])
    placed = ScenePlacement([view]).place(plain, torch.tensor([0]), *sizes)
    pasted, mask = apply_patch(to_tensor(image)[None], to_tensor(patch), placed)
    return to_uint8(pasted[0]), mask[0, 0].bool().numpy()


@pytest.fixture(scope="module")
def drive() -> StreetDrive:
    return StreetDrive(SEED, FRAMES, 1.0, SIZE[1], SIZE[0], carrier="billboard", picture=quarters())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    cv2.imwrite(str(folder / "quarters.png"), quarters()[..., ::-1])
    arguments = [
        SEED,
        "--format",
        "carla-gear",
        "-o",
        folder / "set",
        "--patch",
        folder / "quarters.png",
        "--size",
        f"{SIZE[1]}x{SIZE[0]}",
        "--frames",
        FRAMES,
        "--rate",
        1,
        "--split",
        "val",
    ]
    zmask.main(["world", "export", *map(str, arguments)], standalone_mode=False)
    return folder / "set" / "billboard01"


def views(gear: CarlaGear, index: int) -> list[PanelView]:
    """The views of the panels by nothing but the set's JSON."""
    poses, panel = gear.poses(index), gear.panel
    camera = PinholeCamera(SIZE, (gear.camera.focal, gear.camera.focal), (SIZE[1] / 2, SIZE[0] / 2))
    corners = [panel_corners(pose, panel.width, panel.height, panel.offset) for pose in poses.billboards]
    return [PanelView(camera, camera_to_world(poses.camera), each) for each in corners]


def test_an_exported_set_says_where_the_picture_is(exported: Path, drive: StreetDrive) -> None:
    gear = CarlaGear(exported)
    assert (len(gear), gear.split, gear.is_patched) == (FRAMES, "val", True)
    overlaps = []
    for index, frame in enumerate(gear):
        truth = drive[index]
        np.testing.assert_array_equal(frame.image, truth.image)
        np.testing.assert_array_equal(frame.labels, truth.labels)
        near, far = views(gear, index)
        if near.share() < 0.02:
            continue
        # Of the pixels that are known: not those of the next billboard, and not where something stands before it.
        _, elsewhere = paste_on_panel(frame.image, quarters(), far)
        known = (frame.labels == BUILDING) & ~(cv2.dilate(elsewhere.astype(np.uint8), np.ones((5, 5))) > 0)
        _, mask = paste_on_panel(frame.image, quarters(), near)
        overlaps.append((mask & truth.patch_mask & known).sum() / ((mask | truth.patch_mask) & known).sum())
    assert len(overlaps) >= 3
    assert min(overlaps) > 0.95


def test_a_projected_picture_looks_like_the_one_that_hangs_there(exported: Path) -> None:
    gear = CarlaGear(exported)
    near, frame = views(gear, FRAMES - 1)[0], gear[FRAMES - 1]
    projected, mask = paste_on_panel(np.zeros_like(frame.image), quarters(), near)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((7, 7))) > 0
    white = (projected > 200).all(-1)
    agrees = projected.argmax(-1) == frame.image.argmax(-1)
    assert inner.sum() > 10_000
    assert agrees[inner & ~white].mean() > 0.97
    assert frame.image[inner & white].min(-1).mean() > 1.5 * frame.image[inner & ~white].min(-1).mean()


def test_a_street_scene_knows_what_stands_before_its_panel(drive: StreetDrive) -> None:
    scene = street_scene(drive, 4)
    assert len(scene.frames) == len(scene.views) == 4
    assert scene.frames[-1][0].shape == (*SIZE, 3)
    for (image, labels), view in zip(scene.frames, scene.views, strict=True):
        assert view.visible is not None
        assert LEAST_SHARE <= view.visible.mean() <= 1.1 * view.share()
        _, mask = paste_on_panel(image, quarters(), view)
        assert labels is not None
        assert (labels[mask] == BUILDING).mean() > 0.99
        assert not (mask & ~view.visible).any()
        assert mask.sum() > 0.8 * view.visible.sum()


def test_a_scene_of_a_set_is_that_of_its_drive(exported: Path, drive: StreetDrive) -> None:
    from_set, from_drive = gear_scene(CarlaGear(exported), 3), street_scene(drive, 3)
    for one, other in zip(from_set.views, from_drive.views, strict=True):
        assert one.visible is None
        np.testing.assert_allclose(one.homography((50, 100)), other.homography((50, 100)), atol=1e-6)
    np.testing.assert_array_equal(from_set.frames[1][0], from_drive.frames[1][0])


def test_a_truck_is_a_scene_too() -> None:
    drive = StreetDrive(SEED, 2.0, 1.0, 320, 240, carrier="truck", picture=BLANK)
    camera, panel = gear_camera(drive), gear_panel(drive)
    assert camera.focal == pytest.approx(drive.camera.fx)
    for frame, original in zip(gear_frames(drive), drive, strict=True):
        np.testing.assert_allclose(camera_to_world(frame.poses.camera), original.pose, atol=1e-12)
        (pose,) = frame.poses.billboards
        corners = panel_corners(pose, panel.width, panel.height, panel.offset)
        np.testing.assert_allclose(corners, drive.panels(frame.id / drive.rate_hz)[0], atol=1e-9)
    assert len(street_scene(drive, 9).frames) == 2


def test_a_scene_without_a_panel_is_refused(exported: Path, tmp_path: Path) -> None:
    for picture in ("leftImg8bit/val/val/rgb_0000.png", "gtFine/val/val/rgb_0000_gtFine_labelIds.png"):
        (tmp_path / picture).parent.mkdir(parents=True)
        (tmp_path / picture).write_bytes((exported / picture).read_bytes())
    info = Path("gtFine/val/val/camera_billboard_info.json")
    (tmp_path / info).write_text(
        (exported / info).read_text().replace("billboard_xyzrpy", "was").replace("billboard2_xyzrpy", "was2")
    )
    with pytest.raises(AttackError, match="No frame of the scene"):
        gear_scene(CarlaGear(tmp_path), 3)


def wall_scene() -> tuple[list[tuple[np.ndarray, np.ndarray]], list[PanelView]]:
    """Two frames: red and blue halves with a panel before their seam, and blue only with a panel far to the right."""
    image = np.full((60, 80, 3), 100, np.uint8)
    image[:, :40, 0], image[:, 40:, 2] = 150, 150
    labels = np.zeros((60, 80), np.uint8)
    labels[:, 40:] = 1
    blue = image.copy()
    blue[:, :40] = image[:, 40:]
    camera, pose = PinholeCamera((60, 80), (80.0, 80.0), (40.0, 30.0)), camera_to_world(np.zeros(6))
    center, right = (panel_corners(np.array([8.0, y, 0.0, 0.1, 0.2, 0.3]), 4.0, 3.0) for y in (0.0, -3.0))
    return [(blue, np.ones_like(labels)), (image, labels)], [PanelView(camera, pose, c) for c in (right, center)]


def test_a_patch_is_optimized_where_it_hangs() -> None:
    frames, where = wall_scene()
    network, placement = segmenter(), ScenePlacement(where)
    recipe = replace(RECIPE, steps=12)
    result = train_patch(network, frames, recipe, placement=placement)
    first, last = result.history[0].pixel_accuracy, np.mean([step.pixel_accuracy for step in result.history[-5:]])
    assert last < first - 0.1
    with pytest.raises(AttackError, match="one place"):
        train_patch(network, frames, replace(recipe, patches=2), placement=placement)


class Recording(ScenePlacement):
    """A placement that remembers which frames it was asked for."""

    asked: set[int] = set()  # noqa: RUF012

    def place(
        self, transforms: Transforms, chosen: torch.Tensor, image_size: tuple[int, int], patch_size: tuple[int, int]
    ) -> Transforms:
        self.asked.update(chosen.tolist())
        return super().place(transforms, chosen, image_size, patch_size)


def test_frames_keep_their_places_where_some_are_left_out() -> None:
    frames, where = wall_scene()
    placement = Recording(where)
    recipe = Recipe(size=(16, 20), steps=2, batch=4, objective="hiding", target="red")
    train_patch(segmenter(), frames, recipe, placement=placement)
    assert placement.asked == {1}, "only the second frame shows red"

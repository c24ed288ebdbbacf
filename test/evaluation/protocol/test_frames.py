"""Where the frames of an evaluation come from, and that no frame is in two parts."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from support import evaluation_parts
from support.tiny_network import clean_image
from zmask_ros.data.camvid import camvid_root
from zmask_ros.data.carla_gear.reader import GearCamera, GearFrame, GearPanel, GearPoses
from zmask_ros.data.carla_gear.writer import GearWriter
from zmask_ros.data.street.pictures import PICTURE_SEEDS
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.protocol.frames import (
    STREET_TRAINING_SEEDS,
    Parts,
    bag_parts,
    camvid_parts,
    carla_gear_parts,
    halved,
    image_parts,
    street_parts,
)
from zmask_ros.io.bags.writer import BagWriter


def names(parts: Parts) -> dict[str, list[str]]:
    return {title: [scene.name for scene in part] for title, part in parts.named.items()}


def test_frames_are_in_one_part_only() -> None:
    scenes = [evaluation_parts.scene(index) for index in range(40)]
    parts = halved("one drive", scenes)
    by_part = names(parts)
    assert by_part["test"] == [f"frame {index}" for index in range(24, 40)]
    assert by_part["thresholds"] == [f"frame {index}" for index in (4, 9, 14, 19)]
    learned = {name for title in by_part if title != "test" for name in by_part[title]}
    assert learned == {f"frame {index}" for index in range(20)}
    with pytest.raises(ZmaskError, match="two parts"):
        Parts("twice", parts.statistics, parts.thresholds, parts.attack, parts.attack)
    with pytest.raises(ZmaskError, match="no frames left for"):
        halved("short", scenes[:3])
    thin = names(parts.thinned(2, 3))
    assert [len(part) for part in thin.values()] == [2, 2, 2, 3]
    assert thin["test"] == ["frame 24", "frame 32", "frame 39"]


def test_folders_with_labels(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for index in range(20):
        cv2.imwrite(str(images / f"{index:02}.png"), clean_image(index)[..., ::-1])
        cv2.imwrite(str(labels / f"{index:02}.png"), np.full((48, 64), index % 3, np.uint8))
    parts = image_parts(images, labels)
    assert parts.labeled and not image_parts(images, None).labeled
    assert parts.test[-1].labels is not None and (parts.test[-1].labels == 19 % 3).all()
    np.testing.assert_array_equal(parts.test[-1].image, clean_image(19))
    cv2.imwrite(str(labels / "05.png"), np.zeros((3, 3), np.uint8))
    with pytest.raises(ZmaskError, match=r"05\.png is 3x3"):
        image_parts(images, labels)
    (labels / "05.png").unlink()
    with pytest.raises(ZmaskError, match="not a label map"):
        image_parts(images, labels)
    with pytest.raises(ZmaskError, match="no images"):
        image_parts(tmp_path, None)


def test_the_last_of_several_bags_is_the_test(tmp_path: Path) -> None:
    paths = [tmp_path / f"drive_{number}.mcap" for number in range(3)]
    for number, path in enumerate(paths):
        with BagWriter(path) as bag:
            for index in range(12):
                image = clean_image(100 * number + index)
                bag.write_image("/camera/image_raw", image, "rgb8", (1 + index) * 100_000_000, "camera")
    parts = bag_parts(paths, None, 1000)
    assert not parts.labeled and parts.source == "bags"
    assert {scene.drive for scene in parts.test} == {str(paths[-1])} and len(parts.test) == 12
    np.testing.assert_array_equal(parts.test[3].image, clean_image(203))
    assert len(bag_parts(paths[:1], "/camera/image_raw", 1000).test) == 4
    assert len(bag_parts(paths, None, 18).test) == 6


def test_bags_and_scenes_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    bags, scenes = [tmp_path / day / "drive.mcap" for day in "ab"], [tmp_path / day / "billboard01" for day in "ab"]
    for path in bags:
        path.parent.mkdir()
        with BagWriter(path) as bag:
            for index in range(12):
                bag.write_image("/camera/image_raw", clean_image(index), "rgb8", (1 + index) * 100_000_000, "camera")
    frames = [GearFrame(i, clean_image(i), np.zeros((48, 64), np.uint8), GearPoses(None, ())) for i in range(12)]
    for folder in scenes:
        with GearWriter(folder.parent / "set") as writer:
            writer.write_scene(folder.name, "train", GearCamera(64, 48, math.pi / 2), GearPanel(), False, frames)
    scenes = [folder.parent / "set" / folder.name for folder in scenes]
    for parts, paths in ((bag_parts(bags, None, 1000), bags), (carla_gear_parts(scenes, None), scenes)):
        assert len(parts.test) == 12
        assert {scene.drive for scene in parts.test} == {str(paths[-1])}


def test_carla_gear_scenes(tmp_path: Path) -> None:
    frames = [
        GearFrame(index, clean_image(index), np.full((48, 64), index % 11, np.uint8), GearPoses(None, ()))
        for index in range(8)
    ]
    with GearWriter(tmp_path / "set") as writer:
        for name, patched in (("billboard01", False), ("billboard02", False), ("billboard03", True)):
            writer.write_scene(name, "train", GearCamera(64, 48, math.pi / 2), GearPanel(), patched, frames)
    first, second, third = (tmp_path / "set" / f"billboard0{number}" for number in (1, 2, 3))
    parts = carla_gear_parts([first, second], None)
    assert parts.labeled and [scene.drive for scene in parts.test] == ["billboard02"] * 8
    assert parts.test[5].labels is not None and (parts.test[5].labels == 5).all()
    with pytest.raises(ZmaskError, match="shows patches already"):
        carla_gear_parts([first, third], None)


@pytest.mark.parametrize("seed", [STREET_TRAINING_SEEDS[0], PICTURE_SEEDS[-1]])
def test_street_seeds_that_are_learned_from_are_no_test(seed: int) -> None:
    with pytest.raises(ZmaskError, match="is learned from"):
        street_parts((8000, seed), 1)


@pytest.mark.slow
def test_street_drives() -> None:
    parts = street_parts((8000,), 1)
    assert [scene.drive for scene in parts.test] == ["street 8000"] and parts.labeled
    learned = {scene.drive for title, part in parts.named.items() if title != "test" for scene in part}
    assert learned == {f"street {seed}" for seed in STREET_TRAINING_SEEDS}


@pytest.mark.slow
def test_camvid_tests_on_its_validation_split() -> None:
    root = camvid_root()
    if root is None:
        pytest.skip("CamVid is not here: set ZMASK_CAMVID")
    by_part = names(camvid_parts(root).thinned(20, 10))
    assert all(name.startswith("val/") for name in by_part["test"])
    assert all(name.startswith("train/") for title in by_part if title != "test" for name in by_part[title])

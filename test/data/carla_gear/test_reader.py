"""Sets in CARLA-GeAR's layout: how they are read, and what is damaged is refused with a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from support.gear_set import IMAGES, TRUTH
from zmask_ros.data.camvid import DatasetError
from zmask_ros.data.carla_gear.reader import (
    CITYSCAPES_BY_CAMVID,
    INFO_FILE,
    CarlaGear,
    GearPanel,
)
from zmask_ros.errors import ZmaskError


def change(scene: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = scene / TRUTH / INFO_FILE
    entries = json.loads(path.read_text())
    edit(entries)
    path.write_text(json.dumps(entries))


def test_poses_are_joined_on_the_id_and_may_be_null(scene: Path) -> None:
    def edit(entries: dict[str, Any]) -> None:
        positions = entries["camera_billboard_positions"]
        positions.reverse()
        positions[2] |= {"billboard_xyzrpy": None, "billboard2_xyzrpy": [7] * 6}
        del entries["info"]["panel"], entries["camera_params"]["focal"]

    change(scene, edit)
    gear = CarlaGear(scene)
    assert gear.panel == GearPanel()
    assert [len(frame.poses.billboards) for frame in gear] == [1, 1, 0]
    np.testing.assert_array_equal(gear[0].poses.billboards[0], np.full(6, 7.0))


def test_labels_of_every_class_of_cityscapes_become_camvids(scene: Path) -> None:
    path = scene / TRUTH / "rgb_0000_gtFine_labelIds.png"
    ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    ids[0, :36] = np.arange(36)
    cv2.imwrite(str(path), ids)
    labels = CarlaGear(scene)[0].labels[0, :36]
    # Road, sidewalk, building, car, bus, rider and bicycle of Cityscapes, and its parking.
    assert labels[[7, 8, 11, 26, 28, 25, 33, 9]].tolist() == [3, 4, 1, 8, 8, 10, 10, 255]
    known = [id for ids in CITYSCAPES_BY_CAMVID for id in ids]
    assert len(known) == len(set(known))
    assert np.flatnonzero(labels != 255).tolist() == sorted(known)


def test_the_split_may_be_left_out_where_it_is_clear(scene: Path, tmp_path: Path) -> None:
    for folder in ("leftImg8bit", "gtFine"):
        (scene / folder / "train" / "train").rename(scene / folder / "train" / "video")
        (scene / folder / "train").rename(scene / folder / "video")
    assert CarlaGear(scene).split == "video"
    (scene / "leftImg8bit" / "test").mkdir()
    with pytest.raises(DatasetError, match="test, video"):
        CarlaGear(scene)
    with pytest.raises(DatasetError, match=r"one of its scenes, such as .*billboard01"):
        CarlaGear(scene.parent)
    with pytest.raises(DatasetError, match="no folder leftImg8bit"):
        CarlaGear(tmp_path)
    with pytest.raises(DatasetError, match="no pictures"):
        CarlaGear(scene, "test")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda e: e.pop("camera_params"), "no entry 'camera_params'"),
        (lambda e: e["camera_params"].update(focal=90.0), "focal length 90"),
        (lambda e: e["camera_params"].update(fov=90.0), "90 radians"),
        (lambda e: e["camera_params"].update(width="wide"), "wide"),
        (lambda e: e["camera_billboard_positions"].pop(), r"no poses for 1 pictures, such as rgb_0002\.png"),
        (lambda e: e["camera_billboard_positions"][0].update(camera_xyzrpy=[1, 2]), "no pose of six"),
        (lambda e: e["camera_billboard_positions"][0].update(camera_xyzrpy=[None, 2, 3, 4, 5, 6]), "damaged"),
        (lambda e: e["info"].update(panel={"width": -1, "height": 1, "offset": [0, 0, 0]}), "panel of -1 m"),
        (lambda e: e.update(info=[]), "damaged"),
    ],
)
def test_a_damaged_description_is_refused(scene: Path, edit: Callable[[dict[str, Any]], None], words: str) -> None:
    change(scene, edit)
    with pytest.raises(DatasetError, match=words):
        CarlaGear(scene)


def test_missing_and_disagreeing_files_are_refused(scene: Path) -> None:
    small = np.zeros((24, 32), np.uint8)
    cv2.imwrite(str(scene / TRUTH / "rgb_0001_gtFine_labelIds.png"), small)
    with pytest.raises(DatasetError, match="32x24 pixels, its picture is 64x48"):
        CarlaGear(scene)[1]
    cv2.imwrite(str(scene / IMAGES / "rgb_0001.png"), small)
    with pytest.raises(DatasetError, match="32x24 pixels, but .* says 64x48"):
        CarlaGear(scene)[1]
    (scene / TRUTH / "rgb_0000_gtFine_labelIds.png").write_text("no picture")
    with pytest.raises(DatasetError, match="no label map"):
        CarlaGear(scene)[0]
    (scene / IMAGES / "rgb_0002.png").write_text("no picture")
    with pytest.raises(ZmaskError, match="not a readable image"):
        CarlaGear(scene)[2]
    (scene / TRUTH / "rgb_0000_gtFine_labelIds.png").unlink()
    with pytest.raises(DatasetError, match=r"1 pictures have no labels .* rgb_0000\.png"):
        CarlaGear(scene)


def test_a_missing_or_broken_json_is_refused(scene: Path) -> None:
    (scene / TRUTH / INFO_FILE).write_text('{"info": ')
    with pytest.raises(DatasetError, match="damaged"):
        CarlaGear(scene)
    (scene / TRUTH / INFO_FILE).unlink()
    with pytest.raises(DatasetError, match="cannot be read"):
        CarlaGear(scene)

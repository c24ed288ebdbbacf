"""Sets in CARLA-GeAR's layout: what is written comes back, and a set is whole or not there."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from support.gear_set import CAMERA, IMAGES, PANEL, TRUTH, frames
from zmask_ros.data.camvid import DatasetError
from zmask_ros.data.carla_gear.reader import (
    CITYSCAPES_BY_CAMVID,
    INFO_FILE,
    CarlaGear,
    GearPanel,
)
from zmask_ros.data.carla_gear.writer import GearWriter


def test_what_is_written_comes_back(scene: Path) -> None:
    gear = CarlaGear(scene)
    assert (gear.split, gear.camera, gear.is_patched, len(gear)) == ("train", CAMERA, True, 3)
    assert gear.panel == PANEL
    for read, written in zip(gear, frames(), strict=True):
        assert read.id == written.id
        np.testing.assert_array_equal(read.image, written.image)
        np.testing.assert_array_equal(read.labels, written.labels)
        assert len(read.poses.billboards) == len(written.poses.billboards)
        for one, other in zip(read.poses.billboards, written.poses.billboards, strict=True):
            np.testing.assert_array_equal(one, other)
    assert gear[2].poses.camera is None
    np.testing.assert_array_equal(gear.poses(1).camera, np.full(6, 0.1))


def test_the_layout_is_that_of_carla_gear(scene: Path) -> None:
    files = sorted(str(path.relative_to(scene)) for path in scene.rglob("*") if path.is_file())
    assert files == sorted(
        [
            f"{TRUTH}/camera_billboard_info.json",
            *(f"{TRUTH}/rgb_000{index}_gtFine_labelIds.png" for index in range(3)),
            *(f"{IMAGES}/rgb_000{index}.png" for index in range(3)),
        ]
    )
    entries = json.loads((scene / TRUTH / INFO_FILE).read_text())
    assert entries["info"]["num_billboards"] == 2
    assert entries["info"]["is_patched"] is True
    assert entries["camera_params"] == {"height": 48, "width": 64, "fov": math.pi / 2, "focal": pytest.approx(32.0)}
    first, _, last = entries["camera_billboard_positions"]
    assert first == {
        "id": 0,
        "billboard_xyzrpy": [0, 1, 2, 3, 4, 5],
        "billboard2_xyzrpy": [0, -1, -2, -3, -4, -5],
        "camera_xyzrpy": [1] * 6,
    }
    assert last == {"id": 2, **dict.fromkeys(("billboard_xyzrpy", "billboard2_xyzrpy", "camera_xyzrpy"), [None] * 6)}
    ids = cv2.imread(str(scene / TRUTH / "rgb_0000_gtFine_labelIds.png"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(ids)) == {0, *(ids[0] for ids in CITYSCAPES_BY_CAMVID)}


def test_a_set_is_whole_or_not_there(tmp_path: Path) -> None:
    def broken() -> Any:
        yield frames()[0]
        raise RuntimeError("the lights went out")

    with pytest.raises(RuntimeError), GearWriter(tmp_path / "set") as writer:
        writer.write_scene("billboard01", "train", CAMERA, GearPanel(), False, broken())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("split", ["", "..", "a/b"])
def test_a_split_is_the_name_of_a_folder(tmp_path: Path, split: str) -> None:
    with pytest.raises(DatasetError, match="name of a split"), GearWriter(tmp_path / "set") as writer:
        writer.write_scene("billboard01", split, CAMERA, GearPanel(), False, frames())
    assert list(tmp_path.iterdir()) == []


def test_only_sets_are_replaced(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="exists already"):
        GearWriter(scene.parent)
    with GearWriter(scene.parent, overwrite=True) as writer:
        writer.write_scene("truck01", "val", CAMERA, GearPanel(), False, frames()[:1])
    assert [path.name for path in scene.parent.iterdir()] == ["truck01"]
    (tmp_path / "diary").mkdir()
    with pytest.raises(DatasetError, match="no set of CARLA-GeAR"):
        GearWriter(tmp_path / "diary", overwrite=True)

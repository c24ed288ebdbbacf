"""A small set in CARLA-GeAR's layout."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from zmask_ros.data.carla_gear.reader import GearCamera, GearFrame, GearPanel, GearPoses
from zmask_ros.data.carla_gear.writer import GearWriter

CAMERA = GearCamera(64, 48, math.pi / 2)
PANEL = GearPanel(2.5, 2.0, (0.0, 1.0, 0.5))
TRUTH = Path("gtFine/train/train")
IMAGES = Path("leftImg8bit/train/train")


def frames() -> list[GearFrame]:
    """Three frames with two, one and no billboards; the last one's camera is not known."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 48, 64, 3), np.uint8)
    labels = rng.integers(0, 11, (3, 48, 64), np.uint8)
    labels[:, :2] = 255
    poses = (
        GearPoses(np.ones(6), (np.arange(6.0), -np.arange(6.0))),
        GearPoses(np.full(6, 0.1), (np.arange(6.0) / 7,)),
        GearPoses(None, ()),
    )
    parts = zip(images, labels, poses, strict=True)
    return [GearFrame(index, *each) for index, each in enumerate(parts)]


def write_set(folder: Path) -> Path:
    """Write a set with one scene, "billboard01"; returns the scene's folder."""
    with GearWriter(folder / "set") as writer:
        writer.write_scene("billboard01", "train", CAMERA, PANEL, True, frames())
    return folder / "set" / "billboard01"

"""Driving scenes with a known billboard, in the layout in which CARLA-GeAR publishes its sets for segmentation.

A set has a folder for each scene: ``billboardNN``, ``truckNN`` or ``no_billboard``, and in it for each split
(``train``, ``val``, ``test``, or ``video``, one drive at 30 Hz)::

    leftImg8bit/<split>/<split>/rgb_0000.png
    gtFine/<split>/<split>/rgb_0000_gtFine_labelIds.png     Cityscapes' label ids
    gtFine/<split>/<split>/camera_billboard_info.json       where camera and billboards are, frame by frame

Poses are as in `zmask_ros.data.carla_gear.poses`. After Nesti et al., CARLA-GeAR, 2022.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from zmask_ros.data.camvid import UNLABELLED, DatasetError
from zmask_ros.io.images.files import read_picture

INFO_FILE = "camera_billboard_info.json"
BILLBOARD_KEYS = ("billboard_xyzrpy", "billboard2_xyzrpy")
LABEL_ENDING = "_gtFine_labelIds.png"
PREFERRED_SPLIT = "train"
FOCAL_TOLERANCE = 0.01
"""Share by which the focal length may differ from what the field of view says."""

CITYSCAPES_BY_CAMVID = (
    (23,),  # sky
    (11, 12, 15, 16),  # building, wall, bridge, tunnel
    (17, 18),  # pole, poles
    (7,),  # road
    (8,),  # sidewalk
    (21, 22),  # vegetation, terrain: CamVid's Tree and VegetationMisc
    (20, 19),  # traffic sign, traffic light
    (13, 14),  # fence, guard rail
    (26, 27, 28, 29, 30, 31),  # car, truck, bus, caravan, trailer, train
    (24,),  # person
    (33, 25, 32),  # bicycle, rider, motorcycle
)
"""Cityscapes' label ids of each of CamVid's classes, the one that is written first.

Those left out (static, dynamic, ground, parking, rail track and what is unlabelled) have no counterpart among CamVid's
classes and are unlabelled here. CARLA's tags are written as the ids of the classes of the same name; its road lines are
road, and all of its vehicles are cars.
"""


@dataclass(frozen=True)
class GearCamera:
    """The camera of a scene; it looks along the middle of the image.

    Attributes:
        width, height: of its images, pixels.
        fov: horizontal field of view, radians.
    """

    width: int
    height: int
    fov: float

    @property
    def focal(self) -> float:
        """Focal length, pixels: ``width / (2 tan(fov / 2))``."""
        return self.width / (2.0 * math.tan(self.fov / 2.0))


@dataclass(frozen=True)
class GearPanel:
    """The flat picture that a billboard carries.

    Attributes:
        width, height: metres.
        offset: its top left corner in the billboard's frame, metres: x away from those who look at it, y to their
            left, z up.
    """

    width: float = 7.4
    height: float = 3.7
    offset: tuple[float, float, float] = (0.0, 3.6, 1.85)


@dataclass(frozen=True)
class GearPoses:
    """Where everything is in one frame, as poses float64 [6]: x, y, z in metres, then roll, pitch, yaw in radians.

    Attributes:
        camera: None where it is not known.
        billboards: those that are there, at most two.
    """

    camera: np.ndarray | None
    billboards: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class GearFrame:
    """One frame of a scene.

    Attributes:
        id: joins pictures and poses.
        image: uint8 [H, W, 3], RGB.
        labels: uint8 [H, W], CamVid's class ids 0..10, 255 = unlabelled.
        poses: of camera and billboards.
    """

    id: int
    image: np.ndarray
    labels: np.ndarray
    poses: GearPoses

    @property
    def name(self) -> str:
        """File name of its picture, without the ending."""
        return picture_name(self.id)


def picture_name(number: int) -> str:
    """The file name of a frame's picture, without its ending."""
    return f"rgb_{number:04d}"


def images_folder(scene: Path, split: str) -> Path:
    """Where the pictures of a scene's split lie."""
    return scene / "leftImg8bit" / split / split


def truth_folder(scene: Path, split: str) -> Path:
    """Where the labels and the poses of a scene's split lie."""
    return scene / "gtFine" / split / split


class CarlaGear:
    """One split of a scene as a sequence of `GearFrame`, in the order of ids.

    Args:
        scene: a folder such as ``SET/billboard01``.
        split: None takes "train" where there is one, else the only one there is.

    Attributes:
        camera: of all frames.
        panel: the picture's size and place; CARLA-GeAR's own sets do not write it and have that of `GearPanel`.
        is_patched: whether the billboards show adversarial patches.

    Raises:
        DatasetError: no such scene or split, a picture without labels or poses, or a description that is damaged.
    """

    def __init__(self, scene: Path, split: str | None = None) -> None:
        self.scene = Path(scene)
        self.split = split or _only_split(self.scene)
        self._ids = _picture_ids(images_folder(self.scene, self.split))
        self._truth = truth_folder(self.scene, self.split)
        bare = [number for number in self._ids if not (self._truth / f"{picture_name(number)}{LABEL_ENDING}").is_file()]
        if bare:
            named = f"such as {picture_name(bare[0])}.png"
            raise DatasetError(f"{len(bare)} pictures have no labels in {self._truth}, {named}.")
        info = self._truth / INFO_FILE
        try:
            entries = json.loads(info.read_text("utf-8"))
            self.camera = _camera(entries["camera_params"])
            self.panel = _panel(entries["info"].get("panel"))
            self.is_patched = bool(entries["info"]["is_patched"])
            self._poses = {int(entry["id"]): _poses(entry) for entry in entries["camera_billboard_positions"]}
        except OSError as error:
            raise DatasetError(f"{info} cannot be read: {error.strerror}.") from error
        except KeyError as error:
            raise DatasetError(f"{info} is damaged: it has no entry {error}.") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise DatasetError(f"{info} is damaged: {error}.") from error
        lost = [number for number in self._ids if number not in self._poses]
        if lost:
            raise DatasetError(f"{info} has no poses for {len(lost)} pictures, such as {picture_name(lost[0])}.png.")

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> GearFrame:
        number = self._ids[index]
        name = picture_name(number)
        path = images_folder(self.scene, self.split) / f"{name}.png"
        image = read_picture(path)
        labels = _read_labels(self._truth / f"{name}{LABEL_ENDING}")
        if labels.shape != image.shape[:2]:
            raise DatasetError(
                f"The labels of {path} are {_size(labels)}, its picture is {_size(image)}: they must agree."
            )
        if image.shape[:2] != (self.camera.height, self.camera.width):
            raise DatasetError(
                f"{path} is {_size(image)}, but {INFO_FILE} says {self.camera.width}x"
                f"{self.camera.height}: they must agree."
            )
        return GearFrame(number, image, labels, self._poses[number])

    def poses(self, index: int) -> GearPoses:
        """The poses of a frame, without reading its picture."""
        return self._poses[self._ids[index]]

    def __iter__(self) -> Iterator[GearFrame]:
        return (self[index] for index in range(len(self)))


def _only_split(scene: Path) -> str:
    images = scene / "leftImg8bit"
    if not images.is_dir():
        scenes = sorted(path.parent.name for path in scene.glob("*/leftImg8bit"))
        hint = f"name one of its scenes, such as {scene / scenes[0]}" if scenes else "it has no folder leftImg8bit"
        raise DatasetError(f"{scene} is no scene of CARLA-GeAR: {hint}.")
    splits = sorted(path.name for path in images.iterdir() if path.is_dir())
    if PREFERRED_SPLIT in splits:
        return PREFERRED_SPLIT
    if len(splits) != 1:
        raise DatasetError(f"{images} has the splits {', '.join(splits) or 'none'}: name one of them.")
    return splits[0]


def _picture_ids(folder: Path) -> list[int]:
    numbers = [path.stem.removeprefix("rgb_") for path in folder.glob("rgb_*.png")]
    ids = sorted(int(number) for number in numbers if number.isdecimal())
    if not ids:
        raise DatasetError(f"There are no pictures rgb_0000.png and so on in {folder}: name another scene or split.")
    return ids


def _camera(entries: dict[str, Any]) -> GearCamera:
    width, height, fov = int(entries["width"]), int(entries["height"]), float(entries["fov"])
    if width < 1 or height < 1 or not 0.0 < fov < math.pi:
        raise ValueError(f"a camera of {width}x{height} pixels and {fov:g} radians is none")
    camera = GearCamera(width, height, fov)
    focal = float(entries.get("focal") or camera.focal)
    if abs(focal - camera.focal) > FOCAL_TOLERANCE * camera.focal:
        raise ValueError(
            f"the focal length {focal:g} does not belong to a field of view of {fov:g} radians, which "
            f"gives {camera.focal:g}"
        )
    return camera


def _panel(entries: dict[str, Any] | None) -> GearPanel:
    if entries is None:
        return GearPanel()
    x, y, z = (float(value) for value in entries["offset"])
    panel = GearPanel(float(entries["width"]), float(entries["height"]), (x, y, z))
    if not (panel.width > 0 and panel.height > 0):
        raise ValueError(f"a panel of {panel.width:g} m by {panel.height:g} m is none")
    return panel


def _poses(entry: dict[str, Any]) -> GearPoses:
    billboards = (_pose(entry.get(name)) for name in BILLBOARD_KEYS)
    return GearPoses(_pose(entry["camera_xyzrpy"]), tuple(pose for pose in billboards if pose is not None))


def _pose(values: list[float | None] | None) -> np.ndarray | None:
    """Null, and six times null, mean that there is none."""
    if values is None or (len(values) == 6 and all(value is None for value in values)):
        return None
    pose = np.array([float(value) for value in values])  # type: ignore[arg-type]
    if pose.shape != (6,) or not np.isfinite(pose).all():
        raise ValueError(f"{values} is no pose of six numbers")
    return pose


def _read_labels(path: Path) -> np.ndarray:
    ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if ids is None or ids.ndim != 2 or ids.dtype != np.uint8:
        raise DatasetError(f"{path} is no label map: it must be a grey picture of 8 bits.")
    table = np.full(256, UNLABELLED, np.uint8)
    for camvid, cityscapes in enumerate(CITYSCAPES_BY_CAMVID):
        table[list(cityscapes)] = camvid
    return np.asarray(cv2.LUT(ids, table))


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]} pixels"

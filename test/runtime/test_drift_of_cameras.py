"""The shipped profile fits CamVid's validation drive, and neither other cameras nor night, blur and dirt."""

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from zmask_ros.data.camvid import CamVid, camvid_root
from zmask_ros.data.street import StreetDrive
from zmask_ros.defense import load_profile
from zmask_ros.flags.drift import Drift, DriftLevel, DriftLevels
from zmask_ros.resources import shipped_profile
from zmask_ros.runtime.camera import CameraStream, DefendedCamera
from zmask_ros.segmenters import load_segmenter

NAME = "lraspp_camvid"
ROADS = os.environ.get("ZMASK_ROADS", "")
FRAMES = 14
WRONG = (DriftLevel.WARN, DriftLevel.ERROR)


@pytest.fixture(scope="module")
def camera() -> DefendedCamera:
    return DefendedCamera(load_segmenter(NAME, "cpu"), load_profile(shipped_profile(NAME)), observed_every=1)


@pytest.fixture(scope="module")
def drive() -> list[np.ndarray]:
    root = camvid_root()
    if root is None:
        pytest.skip("ZMASK_CAMVID is not set")
    split = CamVid(root, "val")
    return [split[index].image for index in range(0, len(split), len(split) // FRAMES)]


def drift(camera: DefendedCamera, images: Iterable[np.ndarray]) -> Drift:
    """The distance as soon as it is known; on another camera, many frames are masked and do not count."""
    stream = CameraStream()
    for index, image in enumerate(images):
        camera.process_image(image, stream, index * 300_000_000)
        if not math.isnan(stream.drift.distance):
            return stream.drift
    raise AssertionError(f"{stream.observed.frames} clean frames are too few")


def every_tenth_frame(clip: Path) -> Iterator[np.ndarray]:
    video = cv2.VideoCapture(str(clip))
    while (read := video.read())[0]:
        yield read[1][..., ::-1].copy()
        for _ in range(9):
            video.grab()


def test_a_drive_of_the_same_camera_and_one_of_the_same_world_are_calm(
    camera: DefendedCamera, drive: list[np.ndarray]
) -> None:
    street = [frame.image for frame in StreetDrive(9104, FRAMES, 1.0)]
    for images in (drive, street):
        assert drift(camera, images).distance < 0.9


@pytest.mark.parametrize("change", ["night", "blur"])
def test_night_and_blur_are_not(camera: DefendedCamera, drive: list[np.ndarray], change: str) -> None:
    def changed(image: np.ndarray) -> np.ndarray:
        if change == "blur":
            return np.asarray(cv2.GaussianBlur(image, (0, 0), 4))
        dark = 255 * (0.12 ** (1 / 2.2)) * (image / 255.0)
        return np.clip(dark + np.random.default_rng(0).normal(0, 4, image.shape), 0, 255).astype(np.uint8)

    assert drift(camera, [changed(image) for image in drive]).level(DriftLevels()) in WRONG


@pytest.mark.skipif(not Path(ROADS).is_dir() or not ROADS, reason="ZMASK_ROADS is not set")
@pytest.mark.parametrize("clip", ["chicago", "montana", "autobahn", "us_parkway"])
def test_other_cameras_are_not(camera: DefendedCamera, clip: str) -> None:
    images = every_tenth_frame(Path(ROADS) / "clips" / f"{clip}.mp4")
    assert drift(camera, images).level(DriftLevels()) in WRONG

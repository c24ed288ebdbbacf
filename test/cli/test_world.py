"""`zmask world`: a patch in a drive of one's own, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from support import tiny_network
from support.commands import record, refused
from support.commands import zmask as run
from zmask_ros.attacks import Recipe, save_patch, train_patch
from zmask_ros.cli.main import zmask
from zmask_ros.errors import ZmaskError
from zmask_ros.io.bags.camera_info import CameraInfoFields
from zmask_ros.io.bags.reader import CameraBags, Frame, ReadReport
from zmask_ros.io.bags.writer import BagWriter


def test_exports_that_cannot_be_are_refused(tmp_path: Path) -> None:
    def export(*arguments: str) -> None:
        zmask.main(["world", "export", *arguments, "-o", str(tmp_path / "set")], standalone_mode=False)

    with pytest.raises(ZmaskError, match="one scene without billboards"):
        export("1", "2", "--carrier", "none")
    with pytest.raises(ZmaskError, match="needs a carrier"):
        export("1", "--carrier", "none", "--patch", "patch.png")
    assert list(tmp_path.iterdir()) == []


STEP_NS = 500_000_000


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "patch.png"
    cv2.imwrite(str(path), np.zeros((20, 20, 3), np.uint8))
    return path


def own_drive(path: Path, k: tuple[float, ...] | None = None) -> Path:
    """Nine seconds, with a camera_info where there are intrinsics."""
    with BagWriter(path) as bag:
        for index in range(18):
            stamp_ns = 1_000_000_000 + index * STEP_NS
            bag.write_image("/front/image_raw", tiny_network.clean_image(index, 120, 160), "rgb8", stamp_ns, "front")
            if k is not None:
                bag.write_camera_info("/front/camera_info", CameraInfoFields(120, 160, k), stamp_ns, "front")
    return path


def frames_of(path: Path, topic: str) -> list[Frame]:
    with CameraBags(path, topic) as bags:
        return list(bags.frames(ReadReport()))


def test_a_patch_comes_into_a_drive_of_ones_own(capsys, tmp_path: Path, picture: Path) -> None:
    output = tmp_path / "attacked.mcap"
    code, _, err = run(capsys, "world", "drive", own_drive(tmp_path / "drive.mcap"), "--patch", picture, "-o", output)
    assert code == 0, err
    images, masks = frames_of(output, "/camera/image_raw"), frames_of(output, "/camera/truth/patch")
    assert [frame.stamp_ns for frame in images] == [1_000_000_000 + index * STEP_NS for index in range(18)]
    shown = [bool(frame.image.any()) for frame in masks]
    assert f"seen in {sum(shown)} of them" in err and 0 < sum(shown) < 18
    for index, (frame, mask) in enumerate(zip(images, masks, strict=True)):
        clean = tiny_network.clean_image(index, 120, 160)
        assert np.array_equal(frame.image, clean) != shown[index]
        assert set(np.unique(mask.image)) <= {0, 255}


def test_it_is_seen_through_the_lens_of_camera_info(capsys, tmp_path: Path, picture: Path) -> None:
    shares = []
    for name, focal in (("none", None), ("zero", 0.0), ("usual", 160.0), ("long", 320.0)):
        k = None if focal is None else (focal, 0.0, 79.5, 0.0, focal, 59.5, 0.0, 0.0, 1.0)
        drive, output = own_drive(tmp_path / f"{name}.mcap", k), tmp_path / f"{name}_attacked.mcap"
        arguments = ("world", "drive", drive, "--patch", picture, "--carrier", "truck", "-o", output)
        assert run(capsys, *arguments)[0] == 0
        shares.append(sum(float(frame.image.mean()) for frame in frames_of(output, "/camera/truth/patch")))
    # A camera that nobody calibrated says nothing.
    assert shares[0] == shares[1] == shares[2] and shares[3] == pytest.approx(4 * shares[0], rel=0.2)


def test_without_stamps_the_times_of_recording_count(capsys, tmp_path: Path, picture: Path) -> None:
    drive, output = tmp_path / "drive.mcap", tmp_path / "attacked.mcap"
    with BagWriter(drive) as bag:
        for index in range(10):
            image = tiny_network.clean_image(index, 120, 160)
            bag.write_image("/front/image_raw", image, "rgb8", 0, "front", received_ns=1 + index * 1_000_000_000)
    arguments = ("world", "drive", drive, "--patch", picture, "--carrier", "truck", "-o", output)
    assert run(capsys, *arguments)[0] == 0
    shown = [bool(frame.image.any()) for frame in frames_of(output, "/camera/truth/patch")]
    assert shown == [False] * 3 + [True] * 7
    assert [frame.stamp_ns for frame in frames_of(output, "/camera/image_raw")][1] == 1 + 1_000_000_000


def test_patches_that_belong_together_are_refused(capsys, segmenter, tmp_path: Path) -> None:
    recipe = Recipe((8, 8), 1, patches=2, batch=1)
    made = train_patch(segmenter, [(tiny_network.clean_image(0), None)], recipe)
    save_patch(tmp_path / "two.png", made, recipe, segmenter, ("test",))
    drive, output = own_drive(tmp_path / "drive.mcap"), tmp_path / "attacked.mcap"
    said = refused(capsys, "world", "drive", drive, "--patch", tmp_path / "two.png", "-o", output)
    assert "one of 2 patches" in said and not output.exists()


def test_a_drive_is_not_touched_without_a_patch_or_a_place(capsys, tmp_path: Path, picture: Path) -> None:
    drive, output = own_drive(tmp_path / "drive.mcap"), tmp_path / "attacked.mcap"
    assert "make one with `zmask attack`" in refused(
        capsys, "world", "drive", drive, "--patch", tmp_path / "none.png", "-o", output
    )
    assert "none.mcap" in refused(capsys, "world", "drive", tmp_path / "none.mcap", "--patch", picture, "-o", output)
    assert not output.exists()
    whole = drive.read_bytes()
    assert "the bag that is read" in refused(
        capsys, "world", "drive", drive, "--patch", picture, "-o", drive, "--force"
    )
    assert drive.read_bytes() == whole
    record(output, [tiny_network.clean_image(0)])
    assert "exists already" in refused(capsys, "world", "drive", drive, "--patch", picture, "-o", output)

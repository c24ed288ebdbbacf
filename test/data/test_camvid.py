"""CamVid: frames, labels and stamps, and what is missing is named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from zmask_ros.data.camvid import CamVid, DatasetError, camvid_root


def write_split(root: Path, split: str, names: list[str]) -> None:
    (root / split).mkdir(parents=True)
    (root / f"{split}annot").mkdir()
    for value, name in enumerate(names):
        bgr = np.zeros((6, 8, 3), np.uint8)
        bgr[..., 2] = 100 + value
        labels = np.full((6, 8), 11, np.uint8)
        labels[0] = value
        cv2.imwrite(str(root / split / name), bgr)
        cv2.imwrite(str(root / f"{split}annot" / name), labels)


def test_frames_come_in_order_as_rgb_with_unlabelled_pixels_at_255(tmp_path: Path) -> None:
    write_split(tmp_path, "val", ["0016E5_07959.png", "0016E5_07961.png"])
    frames = list(CamVid(tmp_path, "val"))
    assert [frame.name for frame in frames] == ["0016E5_07959", "0016E5_07961"]
    assert frames[1].image[0, 0].tolist() == [101, 0, 0]
    assert frames[1].labels[0].tolist() == [1] * 8
    assert np.all(frames[1].labels[1:] == 255)
    assert frames[0].drive == "0016E5"


def test_stamps_count_frames_at_thirty_hertz(tmp_path: Path) -> None:
    write_split(tmp_path, "train", ["0006R0_f00930.png", "0006R0_f00960.png"])
    split = CamVid(tmp_path, "train")
    assert split[0].stamp_ns == 31_000_000_000
    assert split[1].stamp_ns - split[0].stamp_ns == 1_000_000_000


def test_drives_can_be_chosen_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    write_split(tmp_path, "train", ["0001TP_006690.png", "0006R0_f00930.png", "0006R0_f00960.png"])
    assert [frame.name for frame in CamVid(tmp_path, "train", ["0006R0"])] == ["0006R0_f00930", "0006R0_f00960"]
    with pytest.raises(DatasetError, match="no drive 0016E5; it has 0001TP, 0006R0"):
        CamVid(tmp_path, "train", ["0016E5"])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no split 'tset'"):
        CamVid(tmp_path, "tset")
    with pytest.raises(DatasetError, match="no CamVid images"):
        CamVid(tmp_path, "val")
    write_split(tmp_path, "val", ["0016E5_07959.png"])
    (tmp_path / "valannot" / "0016E5_07959.png").unlink()
    with pytest.raises(DatasetError, match="no label map"):
        CamVid(tmp_path, "val")


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    write_split(tmp_path, "val", ["0016E5_07959.png"])
    (tmp_path / "val" / "0016E5_07959.png").write_bytes(b"not a picture")
    with pytest.raises(DatasetError, match=r"0016E5_07959\.png is not a readable image"):
        CamVid(tmp_path, "val")[0]


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMASK_CAMVID", str(tmp_path))
    assert camvid_root() == tmp_path.resolve()
    monkeypatch.setenv("ZMASK_CAMVID", str(tmp_path / "nowhere"))
    assert camvid_root() is None
    monkeypatch.delenv("ZMASK_CAMVID")
    assert camvid_root() is None


@pytest.mark.skipif(camvid_root() is None, reason="CamVid is not here; set ZMASK_CAMVID")
def test_the_real_splits_have_their_published_sizes() -> None:
    root = camvid_root()
    assert root is not None
    train, val = CamVid(root, "train"), CamVid(root, "val")
    assert (len(train), len(val)) == (367, 101)
    assert val[0].image.shape == (360, 480, 3)
    assert set(np.unique(val[0].labels)) <= {*range(11), 255}
    assert val[1].stamp_ns - val[0].stamp_ns == pytest.approx(1e9 / 15, abs=2)

"""Globs, folders, addresses and manifests stand for bags, in an order that does not change."""

from __future__ import annotations

from pathlib import Path

import pytest

from zmask_ros.errors import ZmaskError
from zmask_ros.fleet.bag_names import named_bags

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
FILES = ("b/drive_2.mcap", "a/drive_1.mcap", "a/deep/rosbag2/metadata.yaml", "a/deep/rosbag2/r_0.db3", "notes.md")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file in FILES:
        place = tmp_path / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    return tmp_path


@pytest.fixture
def store() -> str:
    system = fsspec.filesystem("memory")
    system.rm("/", recursive=True)
    for file in FILES:
        system.pipe_file(f"/fleet/{file}", b"x")
    return "memory://fleet"


def test_a_name_that_stands_for_itself_stays_as_it_is() -> None:
    assert named_bags(["drive.mcap", "./b", "drive.mcap", "nowhere"]) == ["drive.mcap", "./b", "nowhere"]


def test_globs_give_files_and_folders(folder: Path) -> None:
    assert named_bags([f"{folder}/*/*.mcap"]) == [f"{folder}/a/drive_1.mcap", f"{folder}/b/drive_2.mcap"]
    assert named_bags([f"{folder}/a/deep/ros*"]) == [f"{folder}/a/deep/rosbag2"]
    with pytest.raises(ZmaskError, match="No bags match"):
        named_bags([f"{folder}/*.bag"])


def test_a_folder_gives_the_bags_in_it(folder: Path) -> None:
    assert named_bags([f"{folder}/a/deep/rosbag2"]) == [f"{folder}/a/deep/rosbag2"]
    assert named_bags([f"{folder}/a/deep"]) == [f"{folder}/a/deep/rosbag2"]


def test_an_object_store_is_as_a_disk(store: str) -> None:
    def addresses(*files: str) -> list[str]:
        return [fsspec.filesystem("memory").unstrip_protocol(f"/fleet/{file}") for file in files]

    assert named_bags([f"{store}/*/*.mcap"]) == addresses("a/drive_1.mcap", "b/drive_2.mcap")
    assert named_bags([f"{store}/a/deep"]) == addresses("a/deep/rosbag2")
    with pytest.raises(ZmaskError, match="No bags match"):
        named_bags([f"{store}/*.bag"])


def test_a_list_names_bags_relative_to_itself(folder: Path) -> None:
    (folder / "drives.txt").write_text("# clean\na/drive_1.mcap\n\n  b/*.mcap\ns3://fleet/drive.mcap\n/abs.mcap\n")
    expected = [f"{folder}/a/drive_1.mcap", f"{folder}/b/drive_2.mcap", "s3://fleet/drive.mcap", "/abs.mcap"]
    assert named_bags([f"{folder}/drives.txt"]) == expected
    (folder / "none.txt").write_text("# nothing\n")
    with pytest.raises(ZmaskError, match="is empty"):
        named_bags([f"{folder}/none.txt"])
    with pytest.raises(ZmaskError, match="cannot be read"):
        named_bags([f"{folder}/missing.txt"])


def test_a_table_has_a_column_of_bags(folder: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"vehicle": [1, 2], "bag": ["a/drive_1.mcap", None]}), folder / "drives.parquet")
    assert named_bags([f"{folder}/drives.parquet"]) == [f"{folder}/a/drive_1.mcap"]
    parquet.write_table(pyarrow.table({"vehicle": [1]}), folder / "other.parquet")
    (folder / "text.parquet").write_text("no table")
    for name in ("other", "text"):
        with pytest.raises(ZmaskError, match="no Parquet file with a column 'bag'"):
            named_bags([f"{folder}/{name}.parquet"])


def test_an_address_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ZmaskError, match="cannot be read"):
        named_bags(["gopher://fleet/drive.mcap?"])

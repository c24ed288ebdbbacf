"""Bags as a power cut, a full disk or a bad cable leave them. The files are really cut."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from support.bag_makers import IMAGE, STEP_NS, TOPIC, picture, stamp_ns, write_drive, write_rosbag1, write_rosbag2
from zmask_ros.io.bags.raw_messages import BagWarning
from zmask_ros.io.bags.reader import BagError, CameraBags, Frame, ReadReport

COUNT = 240


def read(path: Path) -> tuple[list[Frame], ReadReport, int]:
    report = ReadReport()
    with CameraBags(path) as bags:
        return list(bags.frames(report)), report, bags.total


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def assert_beginning_of_a_drive(frames: list[Frame], at_least: int, less_than: int) -> None:
    assert at_least <= len(frames) < less_than
    for index, frame in enumerate(frames):
        assert frame.index == index
        assert frame.stamp_ns == stamp_ns(index)
        assert np.array_equal(frame.image, picture(index))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.999])
def test_a_cut_mcap_gives_what_it_has(tmp_path: Path, compress: bool, share: float) -> None:
    bag = cut(write_drive(tmp_path / "drive.mcap", COUNT, compress=compress), share)
    frames, report, total = read(bag)
    lost_with_the_last_chunk = 115
    assert_beginning_of_a_drive(frames, int(COUNT * share) - lost_with_the_last_chunk, COUNT + 1)
    assert total == len(frames) == report.read
    assert len(report.truncated) == 1
    assert "drive.mcap: it is cut off or damaged at byte" in report.truncated[0]


def test_a_cut_mcap_within_a_whole_rosbag2_directory(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "drive", COUNT)
    cut(bag / "drive.mcap", 0.6)
    frames, report, _ = read(bag)
    assert_beginning_of_a_drive(frames, 30, COUNT)
    assert report.truncated[0].startswith(f"{bag}: ")


@pytest.mark.parametrize("keep_metadata", [True, False])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_cut_database_gives_what_it_has(tmp_path: Path, keep_metadata: bool, share: float) -> None:
    bag = write_rosbag2(tmp_path / "drive", COUNT, StoragePlugin.SQLITE3)
    cut(bag / "drive.db3", share)
    if not keep_metadata:
        (bag / "metadata.yaml").unlink()
    frames, report, total = read(bag)
    assert_beginning_of_a_drive(frames, int(COUNT * share) - 10, COUNT)
    assert total == len(frames)
    assert "its database is cut off or damaged" in report.truncated[0]


def test_a_cut_compressed_database(tmp_path: Path) -> None:
    bag = write_rosbag2(tmp_path / "drive", COUNT, StoragePlugin.SQLITE3, CompressionMode.FILE)
    cut(bag / "drive.db3.zstd", 0.6)
    frames, report, _ = read(bag)
    assert_beginning_of_a_drive(frames, COUNT // 3, COUNT)
    assert report.truncated


def test_an_empty_metadata_file_is_no_hindrance(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "drive", 3)
    (bag / "metadata.yaml").write_bytes(b"")
    frames, report, _ = read(bag)
    assert len(frames) == 3
    assert "not whole" in report.truncated[0]


def test_one_lost_file_of_a_split_bag(tmp_path: Path) -> None:
    bag = tmp_path / "drive"
    bag.mkdir()
    write_drive(bag / "drive_0.mcap", 2)
    (bag / "drive_1.mcap").write_bytes(b"")
    frames, report, _ = read(bag)
    assert len(frames) == 2
    assert "drive_1.mcap is empty" in report.truncated[0]


@pytest.mark.parametrize("length", [1, 7, 8, 20, 40])
def test_a_file_cut_before_its_first_image_is_refused(tmp_path: Path, length: int) -> None:
    bag = write_drive(tmp_path / "drive.mcap", 2)
    bag.write_bytes(bag.read_bytes()[:length])
    with pytest.raises(BagError, match="is not a readable bag: it is cut off or damaged"):
        CameraBags(bag)


def test_a_directory_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "drive", 2)
    (bag / "drive.mcap").write_bytes(b"")
    with pytest.raises(BagError, match="Nothing can be read of the bag"):
        CameraBags(bag)


def test_frames_without_a_report_warn_of_what_is_missing(tmp_path: Path) -> None:
    bag = cut(write_drive(tmp_path / "drive.mcap", COUNT), 0.8)
    with CameraBags(bag) as bags, pytest.warns(BagWarning, match="drive.mcap: it is cut off or damaged at byte"):
        assert 0 < len(list(bags.warned_frames())) < COUNT


def break_second_chunk(bag: Path) -> None:
    zstd_magic = b"\x28\xb5\x2f\xfd"
    data = bytearray(bag.read_bytes())
    at = data.index(zstd_magic, data.index(zstd_magic) + 4)
    data[at : at + 4] = bytes(4)
    bag.write_bytes(data)


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_broken_chunk_is_passed_over_with_a_word(tmp_path: Path, is_finished: bool) -> None:
    bag = write_drive(tmp_path / "drive.mcap", COUNT, compress=True)
    break_second_chunk(bag)
    if not is_finished:
        bag.write_bytes(bag.read_bytes()[:-50])
    frames, report, _ = read(bag)
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps[0] == stamp_ns(0)
    assert stamps[-1] == stamp_ns(COUNT - 1)
    assert 50 < len(stamps) < COUNT
    missing = f"{COUNT - len(stamps)} of {COUNT} messages on {TOPIC} are missing in drive.mcap: "
    assert f"{missing if is_finished else ''}1 damaged part" in report.truncated[0]


def write_plain_mcap(path: Path, count: int, finish: bool, order: list[int]) -> Path:
    """As rosbag2's `fastwrite` preset: messages without chunks."""
    source = write_drive(path.with_name("source"), count)
    with CameraBags(source) as bags:
        raw = [message.data for message in bags._bags[0].recordings[0].messages([bags.topic])]
    shutil.rmtree(source)
    definition, _ = get_typestore(Stores.ROS2_JAZZY).generate_msgdef(IMAGE, ros_version=2)
    with path.open("wb") as stream:
        writer = McapWriter(stream, compression=CompressionType.NONE, use_chunking=False, index_types=IndexType.NONE)
        writer.start(profile="ros2")
        schema = writer.register_schema(IMAGE, "ros2msg", definition.encode())
        channel = writer.register_channel(TOPIC, "cdr", schema)
        for index in order:
            writer.add_message(channel, stamp_ns(index), raw[index], stamp_ns(index))
        if finish:
            writer.finish()
    return path


def test_an_unfinished_mcap_without_chunks_gives_every_message(tmp_path: Path) -> None:
    bag = write_plain_mcap(tmp_path / "drive.mcap", 6, finish=False, order=list(range(6)))
    frames, report, _ = read(bag)
    assert_beginning_of_a_drive(frames, 6, 7)
    assert report.truncated


def test_a_write_ahead_log_is_read_too(tmp_path: Path) -> None:
    """A recorder in WAL mode that was killed: the last messages are beside the database."""
    whole = write_rosbag2(tmp_path / "drive", 3, StoragePlugin.SQLITE3)
    database = sqlite3.connect(whole / "drive.db3")
    database.execute("PRAGMA journal_mode = WAL")
    (data,) = database.execute("SELECT data FROM messages LIMIT 1").fetchone()
    database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (1, ?, ?)", (stamp_ns(3), data))
    database.commit()
    killed = tmp_path / "killed"
    shutil.copytree(whole, killed)
    database.close()
    frames, _, total = read(killed)
    assert total == len(frames) == 4
    assert frames[3].received_ns - frames[2].received_ns == STEP_NS


@pytest.mark.parametrize("compression", [None, "BZ2", "LZ4"])
@pytest.mark.parametrize("share", [0.7, 0.999])
def test_a_cut_ros1_bag_gives_what_it_has(tmp_path: Path, compression: str | None, share: float) -> None:
    bag = cut(write_rosbag1(tmp_path / "drive.bag", COUNT, compression), share)
    frames, report, total = read(bag)
    lost_with_the_last_chunk = 115 if compression else 1
    assert_beginning_of_a_drive(frames, int(COUNT * share) - lost_with_the_last_chunk, COUNT + 1)
    assert total == len(frames)
    assert "it is cut off or damaged" in report.truncated[0]


def test_a_ros1_bag_that_was_still_being_recorded(tmp_path: Path) -> None:
    """Its header says that there is no index yet."""
    bag = write_rosbag1(tmp_path / "drive.bag", 5, None)
    data = bag.read_bytes()
    at = data.index(b"index_pos=") + len(b"index_pos=")
    bag.write_bytes(data[:at] + bytes(8) + data[at + 8 :])
    frames, report, _ = read(bag)
    assert_beginning_of_a_drive(frames, 5, 6)
    assert "no index" in report.truncated[0]


@pytest.fixture(scope="module")
def small_bags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("small")
    files = [
        write_drive(folder / "a.mcap", 3, compress=True),
        write_rosbag2(folder / "b", 3, StoragePlugin.SQLITE3) / "b.db3",
        write_rosbag1(folder / "c.bag", 3, "LZ4"),
    ]
    return {file.suffix: file.read_bytes() for file in files}


@pytest.mark.parametrize("name", ["stamp", "frame_id", "encoding", "step"])
def test_a_definition_whose_names_are_damaged_is_left_aside_for_that_of_ros(tmp_path: Path, name: str) -> None:
    bag = write_drive(tmp_path / "drive.mcap", 3)
    # The definition of a message names its fields behind a space.
    bag.write_bytes(bag.read_bytes().replace(f" {name}\n".encode(), f" {'x' * len(name)}\n".encode()))
    frames, report, _ = read(bag)
    assert_beginning_of_a_drive(frames, 3, 4)
    assert (report.read, report.warnings()) == (3, [])


def test_messages_whose_type_is_damaged_where_they_lie_are_broken(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "drive.mcap", 3)
    name = b"sensor_msgs/msg/Image"
    # The first one is that of the data; the summary has another.
    bag.write_bytes(bag.read_bytes().replace(name, b"\0" + name[1:], 1))
    with pytest.raises(BagError, match="none of images: the bag is damaged"):
        read(bag)


@settings(max_examples=40, deadline=None)
@given(suffix=st.sampled_from([".mcap", ".db3", ".bag"]), share=st.floats(0.0, 1.0), data=st.data())
def test_no_damage_ends_in_anything_but_a_word(
    small_bags: dict[str, bytes], suffix: str, share: float, data: st.DataObject
) -> None:
    whole = bytearray(small_bags[suffix])
    for at in data.draw(st.lists(st.integers(0, min(4000, len(whole) - 1)), max_size=4)):
        whole[at] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder) / f"drive{suffix}"
        bag.write_bytes(whole[: int(len(whole) * share)])
        with contextlib.suppress(BagError):
            frames, report, _ = read(bag)
            assert len(frames) == report.read
            assert report.read + report.broken <= 3

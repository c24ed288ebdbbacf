"""What a bag holds beside images that can be read, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from mcap.records import Statistics
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from support.bag_makers import TOPIC, image_bytes, stamp_ns, write_drive, write_rosbag1, write_rosbag2
from zmask_ros.io.bags.contents import FileContents, TopicContents, bag_contents
from zmask_ros.io.bags.reader import BagError, CameraBags, ReadReport

VIDEO = "theora_image_transport/msg/Packet"


def write_channel(path: Path, topic: str, msgtype: str, encoding: str, payload: bytes, count: int = 3) -> Path:
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start("ros2", "a vehicle")
        schema = writer.register_schema(msgtype, "ros2msg", b"float64 x\n")
        channel = writer.register_channel(topic, encoding, schema)
        for index in range(count):
            writer.add_message(channel, stamp_ns(index), payload, stamp_ns(index))
        writer.finish()
    return path


def test_the_files_of_a_bag(tmp_path: Path) -> None:
    (file,) = bag_contents(write_drive(tmp_path / "drive.mcap", 3, compress=True)).files
    assert (file.name, file.format, file.profile, file.compression) == ("drive.mcap", "mcap", "ros2", "zstd")
    assert file.has_index and file.messages == 3
    contents = bag_contents(write_rosbag2(tmp_path / "database", 2, StoragePlugin.SQLITE3))
    assert contents.files == (FileContents("database.db3", "sqlite3", "", "", "", True, 2),)
    assert contents.metadata is not None and contents.metadata.version == 9
    packed = write_rosbag2(tmp_path / "packed", 2, StoragePlugin.SQLITE3, CompressionMode.FILE)
    assert bag_contents(packed).files[0].compression == "a zstd file"
    (ros1,) = bag_contents(write_rosbag1(tmp_path / "drive.bag", 4, "LZ4")).files
    assert ros1 == FileContents("drive.bag", "ROS 1 bag", "", "", "lz4", True, 4)


@pytest.mark.parametrize(
    ("msgtype", "encoding", "reason"),
    [
        (VIDEO, "cdr", f"/front/video carries {VIDEO}, which is not read"),
        ("realsense2_camera_msgs/RGBD", "cdr", "realsense2_camera_msgs/msg/RGBD, which is not read"),
        ("foxglove.CompressedVideo", "flatbuffer", "has foxglove.CompressedVideo serialized as 'flatbuffer'"),
        ("sensor_msgs/msg/Image", "json", "has sensor_msgs/msg/Image serialized as 'json', which is not read"),
    ],
)
def test_a_camera_that_cannot_be_read_is_told_of(tmp_path: Path, msgtype: str, encoding: str, reason: str) -> None:
    bag = write_channel(tmp_path / "drive.mcap", "/front/video", msgtype, encoding, b"\0\1\0\0")
    contents = bag_contents(bag)
    assert [topic.is_read for topic in contents.topics] == [False]
    assert reason in contents.unread[0]
    for topic in (None, "/front/video"):
        with pytest.raises(BagError) as refusal:
            CameraBags(bag, topic)
        assert reason in str(refusal.value)


def test_what_is_no_camera_is_no_unread_camera(tmp_path: Path) -> None:
    bag = write_channel(tmp_path / "drive.mcap", "/steering", "own_msgs/msg/Steering", "cdr", bytes(12))
    contents = bag_contents(bag)
    assert contents.topics == (TopicContents("/steering", "own_msgs/msg/Steering", "cdr", 3, False),)
    assert contents.unread == ()


def test_a_metadata_that_counts_more_than_there_is(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "drive", 3)
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("message_count: 3", "message_count: 5"))
    said = f"its metadata.yaml counts 5 messages on {TOPIC}, of which 2 are not there"
    assert bag_contents(bag).damage == (said,)
    report = ReadReport()
    with CameraBags(bag) as bags:
        assert len(list(bags.frames(report))) == 3
    assert report.warnings() == [f"{bag}: {said}"]


def test_a_metadata_that_counts_more_in_all_and_names_no_topics(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "drive", 3)
    metadata = bag / "metadata.yaml"
    content = yaml.safe_load(metadata.read_text())
    content["rosbag2_bagfile_information"] |= {"message_count": 60, "topics_with_message_count": []}
    metadata.write_text(yaml.safe_dump(content))
    found = sum(topic.messages for topic in bag_contents(bag).topics)
    assert bag_contents(bag).damage == (f"its metadata.yaml counts 60 messages, of which {60 - found} are not there",)


def test_statistics_that_leave_a_topic_out_do_not_count(tmp_path: Path) -> None:
    bag = tmp_path / "drive.mcap"
    with bag.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start()
        images = writer.register_channel(TOPIC, "cdr", writer.register_schema("sensor_msgs/msg/Image", "", b""))
        other = writer.register_channel("/other", "cdr", 0)
        for channel in (images, other):
            writer.add_message(channel, 1, image_bytes(0), 1)
        statistics: Statistics = vars(writer)["_Writer__statistics"]
        del statistics.channel_message_counts[images]
        statistics.message_count = 1
        writer.finish()
    with CameraBags(bag) as bags:
        assert len(list(bags.frames(ReadReport()))) == 1


def test_an_index_of_a_ros1_bag_that_goes_on_behind_what_its_header_counts(tmp_path: Path) -> None:
    bag = write_rosbag1(tmp_path / "drive.bag", 6, None, chunk_size=1)
    content = bag.read_bytes()
    at = content.index(b"chunk_count=") + len(b"chunk_count=")
    bag.write_bytes(content[:at] + (1).to_bytes(4, "little") + content[at + 4 :])
    with CameraBags(bag) as bags:
        assert len(list(bags.frames(ReadReport()))) == 6


@pytest.mark.parametrize("storage", ["mcap", "bag"])
def test_a_bag_of_which_no_frame_can_be_read_is_refused_at_its_end(tmp_path: Path, storage: str) -> None:
    if storage == "mcap":
        bag = write_channel(tmp_path / "drive.mcap", TOPIC, "sensor_msgs/msg/Image", "cdr", image_bytes(0)[:-9])
    else:
        bag = write_rosbag1(tmp_path / "drive.bag", 3, None)
        bag.write_bytes(bag.read_bytes().replace(b"rgb8", b"what"))
    with (
        CameraBags(bag) as bags,
        pytest.raises(
            BagError, match=rf"Not one frame of {TOPIC} could be read of .*3 messages .*In it: {TOPIC} \(3 of"
        ),
    ):
        list(bags.frames(ReadReport()))


def test_two_files_of_the_same_messages_are_read_once(tmp_path: Path) -> None:
    """A bag that was converted in its own folder, and one that `rosbag reindex` has left its original beside."""
    bag = write_rosbag2(tmp_path / "drive", 3, StoragePlugin.MCAP)
    write_rosbag2(tmp_path / "other", 3, StoragePlugin.SQLITE3)
    (tmp_path / "other" / "other.db3").rename(bag / "drive.db3")
    (tmp_path / "split").mkdir()
    for name in ("a_0.bag", "a_0.orig.bag", "a_1.bag.active"):
        write_rosbag1(tmp_path / "split" / name, 2, None)
    for folder, count in ((bag, 3), (tmp_path / "split", 4)):
        report = ReadReport()
        with CameraBags(folder) as bags:
            assert (len(list(bags.frames(report))), report.warnings()) == (count, [])


@pytest.mark.parametrize("ending", ["mcap", "db3", "bag"])
def test_capitals_and_hidden_files_of_another_system(tmp_path: Path, ending: str) -> None:
    """As on a FAT disk that a computer of Apple's has written to."""
    folder, written = tmp_path / "drive", tmp_path / f"drive.{ending}"
    folder.mkdir()
    if ending == "bag":
        write_rosbag1(written, 3, None)
    else:
        storage = StoragePlugin.MCAP if ending == "mcap" else StoragePlugin.SQLITE3
        written = write_rosbag2(tmp_path / "written", 3, storage) / f"written.{ending}"
    written.rename(folder / f"DRIVE_0.{ending.upper()}")
    (folder / f"._DRIVE_0.{ending.upper()}").write_bytes(b"\0\5\x16\7" + bytes(4092))
    report = ReadReport()
    with CameraBags(folder) as bags:
        assert (len(list(bags.frames(report))), report.warnings()) == (3, [])


@pytest.mark.parametrize("has_metadata", [True, False])
def test_a_link_to_a_file_that_is_not_there_is_told_of(tmp_path: Path, has_metadata: bool) -> None:
    bag = write_drive(tmp_path / "drive", 3)
    if not has_metadata:
        (bag / "metadata.yaml").unlink()
    (bag / "drive_1.mcap").symlink_to(tmp_path / "elsewhere.mcap")
    report = ReadReport()
    with CameraBags(bag) as bags:
        assert len(list(bags.frames(report))) == 3
    assert any("drive_1.mcap" in sentence for sentence in report.warnings())


def test_a_stranger_in_the_folder_is_left_aside_with_a_word(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "drive", 2)
    write_drive(bag / "clip.mcap", 1)
    assert bag_contents(bag).damage == ("clip.mcap is not named in its metadata.yaml and was not read",)


def test_a_log_that_cannot_be_opened_in_its_place_is_read_from_a_copy(tmp_path: Path) -> None:
    """As on a read-only disk, on which SQLite cannot make the file that it shares with other readers."""
    import shutil
    import sqlite3

    bag = write_rosbag2(tmp_path / "drive", 2, StoragePlugin.SQLITE3)
    database = sqlite3.connect(bag / "drive.db3")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("INSERT INTO messages(topic_id, timestamp, data) SELECT 1, timestamp + 1, data FROM messages")
    database.commit()
    killed = tmp_path / "killed"
    shutil.copytree(bag, killed)
    database.close()
    (killed / "drive.db3-shm").unlink()
    (killed / "drive.db3-shm").mkdir()
    assert bag_contents(killed).files[0].messages == 4

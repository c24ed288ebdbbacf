from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from support.bag_makers import (
    CAMERA,
    CAMERA_INFO_TOPIC,
    STEREO,
    TOPIC,
    image_bytes,
    image_message,
    picture,
    stamp_ns,
    write_drive,
    write_raw,
    write_rosbag1,
    write_rosbag2,
)
from zmask_ros.io.bags.opening import open_bag
from zmask_ros.io.bags.reader import BagError, BagPart, CameraBags, Frame, ReadReport, TopicInfo, image_topics
from zmask_ros.io.bags.writer import COMPRESSED_IMAGE, BagWriter, header_message, message_class
from zmask_ros.io.images.codec import encode_compressed


def read(*paths: Path, topic: str | None = None, every: int = 1) -> tuple[list[Frame], ReadReport]:
    report = ReadReport()
    with CameraBags(paths, topic, every) as bags:
        return list(bags.frames(report)), report


def assert_whole(frames: list[Frame], count: int) -> None:
    assert [frame.index for frame in frames] == list(range(count))
    for frame in frames:
        assert np.array_equal(frame.image, picture(frame.index))
        assert frame.stamp_ns == frame.received_ns == stamp_ns(frame.index)
        assert frame.frame_id == "front"
        assert frame.topic == TOPIC


@pytest.mark.parametrize(
    ("storage", "mode"),
    [
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
    ],
)
@pytest.mark.parametrize("has_metadata", [True, False])
def test_every_rosbag2_storage_is_read(
    tmp_path: Path, storage: StoragePlugin, mode: CompressionMode, has_metadata: bool
) -> None:
    bag = write_rosbag2(tmp_path / "drive", 5, storage, mode)
    if not has_metadata:
        (bag / "metadata.yaml").unlink()
    frames, report = read(bag)
    assert_whole(frames, 5)
    assert (report.read, report.broken, report.truncated) == (5, 0, [])


@pytest.mark.parametrize("compression", [None, "BZ2", "LZ4"])
def test_ros1_bags_are_read(tmp_path: Path, compression: str | None) -> None:
    frames, report = read(write_rosbag1(tmp_path / "drive.bag", 4, compression))
    assert_whole(frames, 4)
    assert report.read == 4


def test_single_storage_files_are_read(tmp_path: Path) -> None:
    assert_whole(read(write_drive(tmp_path / "drive.mcap", 3))[0], 3)
    database = write_rosbag2(tmp_path / "drive", 3, StoragePlugin.SQLITE3) / "drive.db3"
    assert_whole(read(database)[0], 3)


def test_split_files_without_metadata_come_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "drive").mkdir()
    for part in (0, 1, 10, 2):
        write_drive(tmp_path / "drive" / f"drive_{part}.mcap", 1, first=part)
    frames, _ = read(tmp_path / "drive")
    assert [frame.stamp_ns for frame in frames] == [stamp_ns(part) for part in (0, 1, 2, 10)]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]


def test_a_folder_of_bags_names_them(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_drive(tmp_path / f"drive_{number}", 1)
    (tmp_path / "notes").mkdir()
    (tmp_path / "list.txt").touch()
    with pytest.raises(BagError, match=r"is not a bag, but has bags in it: drive_1, drive_2, drive_10; name one of"):
        CameraBags(tmp_path)
    for number in range(20, 24):
        write_drive(tmp_path / f"drive_{number}", 1)
    with pytest.raises(BagError, match=r"drive_10, drive_20, drive_21, \.\.\.; name one of them\.$"):
        CameraBags(tmp_path)


def test_a_packed_file_that_is_no_bag_is_named_as_the_user_does(tmp_path: Path) -> None:
    packed = tmp_path / "drives.tar.gz"
    packed.write_bytes(gzip.compress(b"no bag"))
    with pytest.raises(BagError, match=rf"^{packed} is not a bag: "):
        CameraBags(packed)


def test_several_bags_are_drives_of_their_own(tmp_path: Path) -> None:
    first, second = write_drive(tmp_path / "a", 3), write_drive(tmp_path / "b.mcap", 2)
    frames, _ = read(first, second)
    assert [(frame.bag, frame.index) for frame in frames] == [
        (first, 0),
        (first, 1),
        (first, 2),
        (second, 0),
        (second, 1),
    ]


def test_every_counts_within_each_bag(tmp_path: Path) -> None:
    first, second = write_drive(tmp_path / "a", 7), write_drive(tmp_path / "b", 4)
    report = ReadReport()
    bags = CameraBags([first, second], every=3)
    assert [frame.index for frame in bags.frames(report)] == [0, 3, 6, 0, 3]
    assert bags.total == report.read == 5


def test_compressed_images_are_read(tmp_path: Path) -> None:
    smooth = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    with BagWriter(tmp_path / "drive") as writer:
        data = np.frombuffer(encode_compressed(smooth), np.uint8)
        message = message_class(COMPRESSED_IMAGE)(header=header_message(5, "front"), format="jpeg", data=data)
        writer.write_message("/front/image_raw/compressed", COMPRESSED_IMAGE, message, 5)
        writer.write_camera_info("/front/camera_info", CAMERA, 5, "front")
    with CameraBags(tmp_path / "drive") as bags:
        (frame,) = bags.frames(ReadReport())
        info = bags.camera_info()
    assert np.abs(frame.image.astype(int) - smooth).max() <= 4
    assert info == replace(CAMERA, p=CAMERA.projection)


def test_a_bag_without_camera_info_has_none(tmp_path: Path) -> None:
    assert CameraBags(write_drive(tmp_path / "drive", 1)).camera_info() is None


def test_messages_hand_the_ros_message_on(tmp_path: Path) -> None:
    report = ReadReport()
    (message,) = CameraBags(write_drive(tmp_path / "drive", 1)).messages(report)
    assert message.msgtype == "sensor_msgs/msg/Image"
    assert message.message.header.frame_id == "front"
    assert report.read == 1


def test_broken_messages_are_counted_and_passed_over(tmp_path: Path) -> None:
    good = image_bytes(0)
    lying_step = bytearray(good)
    at = good.index(b"rgb8") + 8
    assert lying_step[at : at + 4] == (64 * 3).to_bytes(4, "little")
    lying_step[at] = 1
    huge_array = bytearray(good)
    huge_array[at + 4 : at + 8] = b"\xff\xff\xff\x7f"
    payloads = [good, good[:-100], good[:10], b"", bytes(lying_step), bytes(huge_array), b"\xff" * 200, good]
    bag = write_raw(tmp_path / "drive", payloads)
    frames, report = read(bag)
    assert [frame.index for frame in frames] == [0, 7]
    assert (report.read, report.broken) == (2, 6)
    assert report.first_broken.startswith(f"message 1 of {TOPIC} in {bag}: ")


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("every", [1, 3])
def test_the_parts_of_a_bag_are_the_whole(tmp_path: Path, storage: StoragePlugin, every: int) -> None:
    bag = write_rosbag2(tmp_path / "drive", 20, storage)
    whole, _ = read(bag, every=every)
    with CameraBags(bag, every=every) as opened:
        reports = [ReadReport() for _ in range(4)]
        cuts = [BagPart(0, 6), BagPart(6, 18), BagPart(18, 30), BagPart(30, 42)]
        parts = [list(opened.frames(report, cut)) for report, cut in zip(reports, cuts, strict=True)]
    assert [frame.index for part in parts for frame in part] == [frame.index for frame in whole]
    for frame in (frame for part in parts for frame in part):
        assert np.array_equal(frame.image, picture(frame.index))
    assert [report.read for report in reports] == [len(part) for part in parts]
    assert [report.warnings() for report in reports] == [[]] * 4


def test_a_message_that_is_broken_is_so_in_one_part(tmp_path: Path) -> None:
    with CameraBags(write_raw(tmp_path / "drive", [image_bytes(0), b"", image_bytes(2), b""])) as bag:
        reports = [ReadReport(), ReadReport()]
        for report, part in zip(reports, [BagPart(0, 2), BagPart(2, None)], strict=True):
            assert len(list(bag.frames(report, part))) == 1
    assert [report.broken for report in reports] == [1, 1]


def test_image_topics_are_listed_over_all_bags(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "a") as writer:
        writer.write_image("/rear/image_raw", picture(0), "rgb8", 1, "rear")
        writer.write_image(TOPIC, picture(0), "rgb8", 1, "front")
        writer.write_camera_info("/front/camera_info", CAMERA, 1, "front")
    write_drive(tmp_path / "b", 2)
    image = "sensor_msgs/msg/Image"
    assert image_topics([tmp_path / "a", tmp_path / "b"]) == [
        TopicInfo(TOPIC, image, 3),
        TopicInfo("/rear/image_raw", image, 1),
    ]


def test_a_topic_may_be_named_without_its_slash(tmp_path: Path) -> None:
    assert CameraBags(write_drive(tmp_path / "drive", 1), "front/image_raw").topic == TOPIC


class TestRefusals:
    def test_no_such_bag(self, tmp_path: Path) -> None:
        with pytest.raises(BagError, match=r"There is no bag at .*nowhere\."):
            CameraBags(tmp_path / "nowhere")

    def test_no_bag_named(self) -> None:
        with pytest.raises(BagError, match="No bag was named"):
            CameraBags([])

    def test_a_wrong_topic_lists_those_there_are(self, tmp_path: Path) -> None:
        bag = write_drive(tmp_path / "drive", 2)
        with pytest.raises(BagError, match=r"no topic /back; image topics: /front/image_raw \(2 messages\)"):
            CameraBags(bag, "/back")

    def test_a_topic_that_only_one_of_two_bags_has(self, tmp_path: Path) -> None:
        front, rear = write_drive(tmp_path / "a", 1), write_drive(tmp_path / "b", 1, topic="/rear/image_raw")
        with pytest.raises(BagError, match="b has no topic /front/image_raw; image topics: /rear/image_raw"):
            CameraBags([front, rear], TOPIC)

    def test_several_image_topics_and_none_named(self, tmp_path: Path) -> None:
        with BagWriter(tmp_path / "drive") as writer:
            for topic in ("/front/image_raw", "/rear/image_raw"):
                writer.write_image(topic, picture(0), "rgb8", 1, "camera")
        with pytest.raises(BagError, match=r"Name the image topic \(--topic\); image topics: /front.*, /rear"):
            CameraBags(tmp_path / "drive")

    def test_a_topic_that_carries_no_images(self, tmp_path: Path) -> None:
        with BagWriter(tmp_path / "drive") as writer:
            writer.write_camera_info("/front/camera_info", CAMERA, 1, "front")
        with pytest.raises(BagError, match="carries sensor_msgs/msg/CameraInfo and no images; there are no image"):
            CameraBags(tmp_path / "drive", "/front/camera_info")
        with pytest.raises(
            BagError, match=r"Name the image topic \(--topic\); there are no image topics in it that can be read"
        ):
            CameraBags(tmp_path / "drive")

    @pytest.mark.parametrize("storage", list(StoragePlugin))
    def test_an_empty_bag(self, tmp_path: Path, storage: StoragePlugin) -> None:
        with pytest.raises(BagError, match="drive is empty: it has no messages"):
            CameraBags(write_rosbag2(tmp_path / "drive", 0, storage))

    def test_an_empty_ros1_bag(self, tmp_path: Path) -> None:
        with pytest.raises(BagError, match="empty"):
            CameraBags(write_rosbag1(tmp_path / "drive.bag", 0, None))

    @pytest.mark.parametrize("name", ["x.mcap", "x.db3", "x.bag"])
    def test_a_file_that_only_has_the_name_of_a_bag(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("This is a letter and not a recording. " * 200)
        with pytest.raises(BagError, match="is not a readable"):
            CameraBags(tmp_path / name)
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(BagError, match="has 0 bytes"):
            CameraBags(tmp_path / name)

    @pytest.mark.parametrize("name", ["movie.mp4", "folder"])
    def test_what_is_no_bag_at_all(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.write_bytes(b"x") if "." in name else path.mkdir()
        with pytest.raises(BagError, match="is not a bag: expected a rosbag2 directory"):
            CameraBags(path)

    def test_every_below_one(self, tmp_path: Path) -> None:
        with pytest.raises(BagError, match="'every' is 0"):
            CameraBags(write_drive(tmp_path / "drive", 1), every=0)


def test_a_bag_without_message_definitions_is_read_by_those_of_ros(tmp_path: Path) -> None:
    """As Humble and older record into sqlite3."""
    import sqlite3

    bag = write_rosbag2(tmp_path / "drive", 2, StoragePlugin.SQLITE3)
    with sqlite3.connect(bag / "drive.db3") as database:
        database.execute("DELETE FROM message_definitions")
    database.close()
    assert_whole(read(bag)[0], 2)


def test_the_reader_gives_its_files_back(tmp_path: Path) -> None:
    bag = write_rosbag2(tmp_path / "drive", 2, StoragePlugin.MCAP, CompressionMode.FILE)
    (bag / "metadata.yaml").unlink()
    opened = open_bag(bag)
    unpacked = opened.recordings[0].path
    assert unpacked.is_file()
    opened.close()
    assert not unpacked.parent.exists()


def test_the_makers_of_these_bags_agree_with_ros() -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    assert image_message(store, 3).header.seq == 3


@pytest.mark.parametrize("every", [1, 3])
def test_the_rate_follows_from_the_stamps(tmp_path: Path, every: int) -> None:
    with CameraBags(write_drive(tmp_path / "drive", 8), every=every) as bags:
        assert bags.rate_hz() == pytest.approx(10 / every)


def test_a_dropped_frame_or_a_loop_does_not_change_the_rate(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "drive") as writer:
        for index in (0, 1, 2, 7, 8, 0, 1, 2):
            writer.write_image(TOPIC, picture(index), "rgb8", stamp_ns(index), "front", stamp_ns(index))
    with CameraBags(tmp_path / "drive") as bags:
        assert bags.rate_hz() == pytest.approx(10)


def test_stamps_that_do_not_move_tell_no_rate(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "drive") as writer:
        for received in range(3):
            writer.write_image(TOPIC, picture(0), "rgb8", 0, "front", received)
    with CameraBags(tmp_path / "drive") as bags:
        assert bags.rate_hz() is None


def test_camera_info_is_read_in_the_spelling_of_ros1(tmp_path: Path) -> None:
    with CameraBags(write_rosbag1(tmp_path / "drive.bag", 1, None, STEREO)) as bags:
        assert bags.camera_info() == STEREO


@pytest.mark.parametrize("every", [1, 2])
def test_each_message_has_the_camera_info_before_it(tmp_path: Path, every: int) -> None:
    with BagWriter(tmp_path / "drive") as writer:
        for index in range(6):
            if index in (1, 4):
                writer.write_camera_info(CAMERA_INFO_TOPIC, replace(CAMERA, height=index), 1, "front", stamp_ns(index))
            writer.write_image(TOPIC, picture(index), "rgb8", stamp_ns(index), "front", stamp_ns(index) + 1)
    with CameraBags(tmp_path / "drive", every=every) as bags:
        infos = [message.camera_info for message in bags.messages(ReadReport())]
    heights = [None if info is None else info.fields().height for info in infos]
    assert heights == [None, 1, 1, 1, 4, 4][::every]

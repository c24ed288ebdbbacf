"""Into which files a recording goes, and what of it outlives a power cut."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader

from support.bag_makers import picture
from zmask_ros.io.bags.message_types import ros_types
from zmask_ros.io.bags.raw_messages import BagError, RawMessage
from zmask_ros.io.bags.reader import CameraBags, ReadReport
from zmask_ros.io.bags.segmented import MIB, SegmentedBag, Spool

IMAGE = "sensor_msgs/msg/Image"
TOPIC = "/front/image_raw"
LARGE = 100 * MIB


def image(number: int) -> RawMessage:
    """A real image of about 9 KiB; its number is its time in ns."""
    types = ros_types().types
    stamp = types["builtin_interfaces/msg/Time"](sec=0, nanosec=number)
    pixels = picture(number)
    message = types[IMAGE](
        header=types["std_msgs/msg/Header"](stamp, "front"),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding="rgb8",
        is_bigendian=0,
        step=pixels.shape[1] * 3,
        data=pixels.reshape(-1),
    )
    return RawMessage(TOPIC, IMAGE, number, bytes(ros_types().serialize_cdr(message, IMAGE)))


def numbers(bag: Path) -> list[int]:
    """Of the images that our reader finds, each compared with what was written."""
    with CameraBags(bag, TOPIC) as bags:
        frames = list(bags.frames(ReadReport()))
    assert all((frame.image == picture(frame.stamp_ns)).all() for frame in frames)
    return [frame.stamp_ns for frame in frames]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_file_and_the_folder_are_bags(tmp_path: Path) -> None:
    bag = SegmentedBag(tmp_path / "out", MIB // 10, MIB)
    for number in range(30):
        bag.write(image(number))
    bag.close()
    assert len(files(tmp_path / "out")) == 3
    assert numbers(tmp_path / "out") == list(range(30))
    assert [numbers(tmp_path / "out" / name)[0] for name in files(tmp_path / "out")] == [0, 11, 22]
    with AnyReader([tmp_path / "out" / "flags_000001.mcap"]) as reader:
        assert [(one.topic, one.msgtype) for one in reader.connections] == [(TOPIC, IMAGE)]
        assert reader.message_count == 11


def test_the_oldest_files_make_room_those_of_an_earlier_recording_first(tmp_path: Path) -> None:
    for first in (0, 30, 60):
        bag = SegmentedBag(tmp_path, MIB // 10, MIB // 3)
        for number in range(first, first + 30):
            bag.write(image(number))
            assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= MIB // 3
        bag.close()
    (tmp_path / "notes.txt").write_text("not ours")
    kept = numbers(tmp_path)
    assert kept == list(range(90 - len(kept), 90))
    assert len(kept) >= 20
    assert "flags_000001.mcap" not in files(tmp_path) and "notes.txt" in files(tmp_path)


@pytest.mark.parametrize("cut", [0, 1, 3000])
def test_what_was_synced_is_readable_without_the_end_of_the_file(tmp_path: Path, cut: int) -> None:
    bag = SegmentedBag(tmp_path / "out", LARGE, 2 * LARGE)
    for number in range(5):
        bag.write(image(number))
    bag.sync()
    file = tmp_path / "out" / "flags_000001.mcap"
    synced = file.stat().st_size
    for number in range(5, 8):
        bag.write(image(number))
    bag.sync()
    # As a power cut leaves it: a part of what came after the first sync has reached the disk.
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / file.name).write_bytes(file.read_bytes()[: synced + cut])
    assert numbers(tmp_path / "cut") == [0, 1, 2, 3, 4]
    bag.close()
    assert numbers(tmp_path / "out") == list(range(8))


def test_a_folder_goes_on_after_a_power_cut(tmp_path: Path) -> None:
    bag = SegmentedBag(tmp_path, LARGE, 2 * LARGE)
    bag.write(image(0))
    bag.sync()
    (tmp_path / "flags_000002.mcap").write_bytes((tmp_path / "flags_000001.mcap").read_bytes())
    (tmp_path / "flags_000003.mcap").touch()
    bag.close()
    (tmp_path / "flags_000001.mcap").unlink()
    again = SegmentedBag(tmp_path, LARGE, 2 * LARGE)
    again.write(image(1))
    again.close()
    assert files(tmp_path) == ["flags_000002.mcap", "flags_000003.mcap", "flags_000004.mcap"]
    assert numbers(tmp_path) == [0, 1]


def test_two_recorders_do_not_share_a_folder(tmp_path: Path) -> None:
    bag = SegmentedBag(tmp_path, MIB, 2 * MIB)
    with pytest.raises(BagError, match="Something else is recording into"):
        SegmentedBag(tmp_path, MIB, 2 * MIB)
    bag.close()
    SegmentedBag(tmp_path, MIB, 2 * MIB).close()
    assert files(tmp_path) == []


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"^1 MiB in all hold less than two files of 1 MiB\.$"):
        SegmentedBag(tmp_path, MIB, MIB)
    bag = SegmentedBag(tmp_path / "out", MIB, 2 * MIB)
    with pytest.raises(BagError, match="type some_msgs/msg/Any .* are not known"):
        bag.write(RawMessage("/any", "some_msgs/msg/Any", 0, b""))
    bag.close()
    (tmp_path / "file").touch()
    with pytest.raises(BagError, match="cannot be recorded into: File exists"):
        SegmentedBag(tmp_path / "file", MIB, 2 * MIB)


def test_a_full_disk_ends_the_spool_with_a_sentence_and_what_fitted_is_there(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool = Spool(SegmentedBag(tmp_path, LARGE, 2 * LARGE), 0.01)
    # Room for a whole chunk (1 MiB), however seldom the thread had its turn to sync a smaller one.
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * MIB // 2, hard))
    try:
        for number in range(300):
            spool.put(image(number))
        with pytest.raises(BagError, match=r"cannot be written any further: File too large\.$"):
            spool.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    kept = numbers(tmp_path)
    assert kept and kept == list(range(len(kept)))


def test_the_spool_writes_everything_in_order_before_it_ends(tmp_path: Path) -> None:
    spool = Spool(SegmentedBag(tmp_path, LARGE, 2 * LARGE), 0.05)
    for number in range(200):
        spool.put(image(number))
    spool.close()
    assert spool.waiting_bytes == 0
    assert numbers(tmp_path) == list(range(200))

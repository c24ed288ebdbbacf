"""What the writer puts into a bag, as other readers find it, and what it leaves behind when it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Writer

from support.bag_makers import CAMERA, STEREO, TOPIC, image_bytes, picture, write_drive, write_rosbag1
from zmask_ros.io.bags.reader import BagError, CameraBags, ReadReport
from zmask_ros.io.bags.writer import BagWriter


def messages_of(bag: Path) -> dict[str, list[Any]]:
    """As any other reader of rosbag2 sees the bag: nothing of ours."""
    found: dict[str, list[Any]] = {}
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            found.setdefault(connection.topic, []).append(reader.deserialize(data, connection.msgtype))
    return found


@pytest.mark.parametrize("name", ["out", "out.mcap"])
@pytest.mark.parametrize("compress", [False, True])
def test_every_kind_of_message_comes_back(tmp_path: Path, name: str, compress: bool) -> None:
    heat = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    labels = np.array([[0, 3], [255, 8]], np.uint8)
    with BagWriter(tmp_path / name, compress=compress) as writer:
        writer.write_image("/image_raw", picture(0), "bgr8", 1_500_000_001, "front", received_ns=9)
        writer.write_image("/zmask/heat", heat, "32FC1", 1_500_000_001, "front")
        writer.write_image("/zmask/segmentation", labels, "mono8", 1_500_000_001, "front")
        writer.write_camera_info("/camera_info", CAMERA, 1_500_000_001, "front")
    found = messages_of(tmp_path / name)
    header = found["/zmask/heat"][0].header
    assert (header.stamp.sec, header.stamp.nanosec, header.frame_id) == (1, 500_000_001, "front")
    assert np.array_equal(found["/zmask/heat"][0].data.view("<f4").reshape(3, 4), heat)
    assert np.array_equal(found["/zmask/segmentation"][0].data.reshape(2, 2), labels)
    assert found["/camera_info"][0].p.reshape(3, 4)[0].tolist() == [50.0, 0.0, 32.0, 0.0]
    (frame,) = CameraBags(tmp_path / name, "/image_raw").frames(ReadReport())
    assert np.array_equal(frame.image, picture(0))
    assert (frame.stamp_ns, frame.received_ns) == (1_500_000_001, 9)


def test_other_tools_find_schemas_and_qos(tmp_path: Path) -> None:
    write_drive(tmp_path / "out", 2)
    with (tmp_path / "out" / "out.mcap").open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    assert [schema.name for schema in summary.schemas.values()] == ["sensor_msgs/msg/Image"]
    assert "std_msgs/Header header" in next(iter(summary.schemas.values())).data.decode()
    information = yaml.safe_load((tmp_path / "out" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["storage_identifier"] == "mcap"
    topic = information["topics_with_message_count"][0]["topic_metadata"]
    assert yaml.safe_load(topic["offered_qos_profiles"])[0]["depth"] == 1


def test_messages_pass_through_unchanged_from_ros1_too(tmp_path: Path) -> None:
    source = CameraBags(write_rosbag1(tmp_path / "drive.bag", 2, None))
    with BagWriter(tmp_path / "out.mcap") as writer:
        for message in source.messages(ReadReport()):
            writer.write_message(message.topic, message.msgtype, message.message, message.received_ns)
    frames = list(CameraBags(tmp_path / "out.mcap").frames(ReadReport()))
    assert [frame.topic for frame in frames] == [TOPIC, TOPIC]
    assert np.array_equal(frames[1].image, picture(1))
    assert frames[1].frame_id == "front"


def test_messages_are_written_as_they_came_over_the_wire(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "out") as writer:
        writer.write_serialized(TOPIC, "sensor_msgs/msg/Image", image_bytes(2), 7)
    (frame,) = CameraBags(tmp_path / "out").frames(ReadReport())
    assert np.array_equal(frame.image, picture(2))
    assert frame.received_ns == 7


@pytest.mark.parametrize("name", ["out", "out.mcap"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_bag_leaves_nothing(tmp_path: Path, name: str, error: type[BaseException]) -> None:
    writer = BagWriter(tmp_path / name)
    writer.write_image(TOPIC, picture(0), "rgb8", 1, "front")
    assert not (tmp_path / name).exists()
    with pytest.raises(error), writer:
        raise error
    assert not list(tmp_path.iterdir())


def test_a_finished_bag_leaves_nothing_else(tmp_path: Path) -> None:
    write_drive(tmp_path / "a.mcap", 1)
    write_drive(tmp_path / "b", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mcap", "b"]


@pytest.mark.parametrize("name", ["out", "out.mcap"])
def test_a_bag_is_only_replaced_if_that_was_asked_for(tmp_path: Path, name: str) -> None:
    write_drive(tmp_path / name, 1)
    with pytest.raises(BagError, match="exists already"):
        BagWriter(tmp_path / name)
    with BagWriter(tmp_path / name, overwrite=True) as writer:
        for stamp in (1, 2):
            writer.write_image(TOPIC, picture(0), "rgb8", stamp, "front")
    assert CameraBags(tmp_path / name).total == 2
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_is_no_bag_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(BagError, match="is no bag"):
        BagWriter(tmp_path / "photos", overwrite=True)


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BagError, match="cannot be written: "):
        BagWriter(tmp_path / "file" / "out.mcap")
    with pytest.raises(BagError, match="cannot be written: "):
        BagWriter(Path("/proc/out.mcap"))


def test_the_folder_is_made(tmp_path: Path) -> None:
    assert write_drive(tmp_path / "new" / "drives" / "out.mcap", 1).is_file()


def test_messages_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "out") as writer:
        writer.write_image(TOPIC, picture(0), "rgb8", 1, "front")
        with pytest.raises(BagError, match="other_msgs/msg/Thing"):
            writer.write_message("/thing", "other_msgs/msg/Thing", object(), 1)
        with pytest.raises(BagError, match="does not fit sensor_msgs/msg/Image"):
            writer.write_message(TOPIC, "sensor_msgs/msg/Image", object(), 1)
        with pytest.raises(BagError, match="cannot carry sensor_msgs/msg/CameraInfo too"):
            writer.write_camera_info(TOPIC, CAMERA, 1, "front")
    assert CameraBags(tmp_path / "out").total == 1


def test_an_empty_bag_is_still_a_bag(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "metadata.yaml").is_file()
    with pytest.raises(BagError, match="is empty"):
        CameraBags(tmp_path / "out")


def test_camera_info_keeps_every_field(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "out") as writer:
        writer.write_image(TOPIC, picture(0), "rgb8", 1, "front")
        writer.write_camera_info("/front/camera_info", STEREO, 1, "front")
    with CameraBags(tmp_path / "out") as bags:
        assert bags.camera_info() == STEREO


@pytest.mark.parametrize("name", ["out", "out.mcap"])
def test_a_recording_whose_place_was_taken_is_kept(tmp_path: Path, name: str) -> None:
    writer = BagWriter(tmp_path / name)
    writer.write_image(TOPIC, picture(0), "rgb8", 1, "front")
    (tmp_path / name).mkdir()
    with pytest.raises(BagError, match="cannot be finished: .* exists already.*; the recording is kept in ") as caught:
        writer.close()
    kept = Path(str(caught.value).rpartition(" kept in ")[2].rstrip("."))
    (frame,) = CameraBags(kept).frames(ReadReport())
    assert np.array_equal(frame.image, picture(0))
    assert not list((tmp_path / name).iterdir())


@pytest.mark.parametrize(
    ("error", "expected"),
    [(OSError(28, "No space left on device"), BagError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_bag_is_not_lost_when_its_replacement_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, expected: type[BaseException]
) -> None:
    write_drive(tmp_path / "out", 1)
    writer = BagWriter(tmp_path / "out", overwrite=True)
    rename = Path.rename

    def failing(source: Path, target: Path) -> Path:
        if target == tmp_path / "out" and source.name == "out":
            raise error
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(expected):
        writer.close()
    assert CameraBags(tmp_path / "out").total == 1


def test_a_writer_that_cannot_be_opened_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_writer: Writer) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "open", refuse)
    with pytest.raises(BagError, match="cannot be written: No space left"):
        BagWriter(tmp_path / "out")
    assert not list(tmp_path.iterdir())

"""Video and Foxglove's images out of bags: every storage and serialization, the same frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from support.recorded_videos import (
    FRAMES,
    TOPIC,
    decoded,
    packet,
    stamp_ns,
    video,
    video_fields,
    write_foxglove,
    write_rosbag1,
    write_rosbag2,
)
from zmask_ros.io.bags.contents import bag_contents
from zmask_ros.io.bags.reader import BagError, BagPart, CameraBags, Frame, ReadReport
from zmask_ros.io.bags.writer import COMPRESSED_IMAGE
from zmask_ros.io.images.codec import encode_compressed
from zmask_ros.io.images.video_stream.decoder import VideoPacket
from zmask_ros.io.images.video_stream.messages import FFMPEG_PACKET, FOXGLOVE_VIDEO, holds_video, video_packet

IMAGES = ("image", "image, sqlite3", "image, ros1", "image, protobuf", "image, json")
FORMS = ("cdr", "ffmpeg", "sqlite3", "ros1", "protobuf", "json", *IMAGES)


def write(path: Path, form: str, packets: list[VideoPacket]) -> Path:
    is_image, form = form in IMAGES, form.removeprefix("image").removeprefix(", ")
    if form in ("protobuf", "json"):
        messages = [video_fields(one) for one in packets]
        name = "CompressedImage" if is_image else "CompressedVideo"
        return write_foxglove(path / "drive.mcap", name, form, messages)
    msgtype = COMPRESSED_IMAGE if is_image else FFMPEG_PACKET if form == "ffmpeg" else FOXGLOVE_VIDEO
    if form == "ros1":
        return write_rosbag1(path / "drive.bag", msgtype, packets)
    return write_rosbag2(path / "drive", msgtype, packets, StoragePlugin["SQLITE3" if form == "sqlite3" else "MCAP"])


def packets_of(name: str) -> list[VideoPacket]:
    return [packet(video(name), place) for place in range(FRAMES)]


def read(bag: Path, every: int = 1) -> tuple[list[Frame], ReadReport]:
    report = ReadReport()
    with CameraBags(bag, every=every) as bags:
        return list(bags.frames(report)), report


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["h264", "h265", "av1"])
def test_every_form_gives_the_pictures_with_their_stamps(tmp_path: Path, form: str, name: str) -> None:
    bag = write(tmp_path, form, packets_of(name))
    assert [(topic.topic, topic.is_read) for topic in bag_contents(bag).topics] == [(TOPIC, True)]
    frames, report = read(bag)
    assert (report.read, report.broken, report.warnings()) == (FRAMES, 0, [])
    assert [frame.index for frame in frames] == list(range(FRAMES))
    for number, (frame, expected) in enumerate(zip(frames, decoded(name), strict=True)):
        assert (frame.stamp_ns, frame.frame_id, frame.topic) == (stamp_ns(number), "front", TOPIC)
        assert np.array_equal(frame.image, expected)


@pytest.mark.parametrize("name", ["h264, B frames", "h265, B frames"])
def test_packets_in_another_order_give_pictures_in_theirs(tmp_path: Path, name: str) -> None:
    frames, _ = read(write(tmp_path, "ffmpeg", packets_of(name)), every=5)
    assert [frame.index for frame in frames] == list(range(0, FRAMES, 5))
    for frame in frames:
        assert frame.stamp_ns == stamp_ns(frame.index)
        assert np.array_equal(frame.image, decoded(name)[frame.index])


@pytest.mark.parametrize("form", FORMS)
def test_what_is_lost_is_counted_and_every_message_is_told_of(tmp_path: Path, form: str) -> None:
    packets = packets_of("h264")
    # Up to the key frame 18 nothing can be seen; packet 21 is not there.
    bag = write(tmp_path, form, [*packets[10:21], *packets[22:]])
    frames, report = read(bag)
    assert [frame.stamp_ns for frame in frames] == [stamp_ns(n) for n in range(18, 36) if n not in range(21, 27)]
    assert report.read + report.broken == FRAMES - 11
    assert "No key frame of the video has come yet." in report.first_broken
    with CameraBags(bag) as bags:
        messages = list(bags.messages(ReadReport()))
    assert [message.index for message in messages] == list(range(FRAMES - 11))
    pictures = [message.message for message in messages]
    assert [picture.header.stamp.sec for picture in pictures] == sorted(p.header.stamp.sec for p in pictures)
    assert sum(picture.image is not None for picture in pictures) == len(frames)


def test_a_message_that_cannot_be_read_is_a_lost_packet(tmp_path: Path) -> None:
    fields = [video_fields(one) for one in packets_of("h264")]
    del fields[12]["format"]
    frames, report = read(write_foxglove(tmp_path / "drive.mcap", "CompressedVideo", "json", fields))
    assert [frame.index for frame in frames] == [*range(12), *range(18, FRAMES)]
    assert report.broken == 6 and "message 12 of" in report.first_broken


def test_a_drive_of_which_nothing_can_be_seen_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"Not one frame .* No key frame of the video has come yet"):
        read(write(tmp_path, "cdr", packets_of("h264")[1:9]))
    other = [replace(one, codec="vp8") for one in packets_of("h264")]
    with pytest.raises(BagError, match=r"Video of 'vp8' is not read, but that of h264, h265, av1, vp9"):
        read(write(tmp_path, "json", other))


def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("kind", ["RawImage", "CompressedImage"])
def test_images_of_foxglove_are_those_of_ros(tmp_path: Path, encoding: str, kind: str) -> None:
    image = picture()
    fields: dict[str, Any] = {"stamp_ns": stamp_ns(2), "frame_id": "front"}
    if kind == "RawImage":
        padded = np.pad(cv2.cvtColor(image, cv2.COLOR_RGB2BGR).reshape(20, 90), ((0, 0), (0, 6)))
        fields |= {"width": 30, "height": 20, "encoding": "8UC3", "step": 96, "data": padded.tobytes()}
    else:
        fields |= {"format": "png", "data": encode_compressed(image, "png")}
    frames, report = read(write_foxglove(tmp_path / "drive.mcap", kind, encoding, [fields]))
    assert report.warnings() == []
    assert (frames[0].stamp_ns, frames[0].frame_id) == (stamp_ns(2), "front")
    assert np.array_equal(frames[0].image, image)


@pytest.mark.parametrize("form", ["ffmpeg", "image"])
@pytest.mark.parametrize("name", ["h264", "h265, B frames"])
def test_the_parts_of_a_video_are_the_whole(tmp_path: Path, name: str, form: str) -> None:
    with CameraBags(write(tmp_path, form, packets_of(name)), every=2) as bag:
        parts = [bag.frames(ReadReport(), BagPart(first, first + 10)) for first in range(0, FRAMES, 10)]
        frames = [list(part) for part in parts]
    assert [[frame.index for frame in part] for part in frames] == [
        list(range(first, min(first + 10, FRAMES), 2)) for first in range(0, FRAMES, 10)
    ]
    for frame in (frame for part in frames for frame in part):
        assert np.array_equal(frame.image, decoded(name)[frame.index])


@pytest.mark.parametrize("every", [1, 2])
def test_a_camera_may_change_from_pictures_to_video_and_back(tmp_path: Path, every: int) -> None:
    taken = picture()
    packets = [replace(one, stamp_ns=one.stamp_ns + stamp_ns(4) - stamp_ns(0)) for one in packets_of("h264, B frames")]
    # A camera driver that goes on naming the video when it sends pictures.
    names = ["jpeg", "h264"] * 2
    pictures = [
        VideoPacket(name, encode_compressed(taken, kind), stamp_ns(place))
        for place, name, kind in zip((0, 1, FRAMES + 4, FRAMES + 5), names, ("jpeg", "png") * 2, strict=True)
    ]
    messages = [*pictures[:2], *pictures[:2], *packets, *pictures[2:]]
    frames, report = read(write(tmp_path, "image", messages), every)
    assert (report.broken, report.warnings()) == (0, [])
    assert [frame.index for frame in frames] == list(range(0, FRAMES + 6, every))
    for frame in frames:
        number = frame.index - 4
        expected = decoded("h264, B frames")[number] if 0 <= number < FRAMES else None
        assert expected is None or (frame.stamp_ns == stamp_ns(frame.index) and np.array_equal(frame.image, expected))
        assert expected is not None or frame.image.shape == taken.shape


@pytest.mark.parametrize(
    ("format", "codec"),
    [
        ("h264", "h264"),
        ("H.264", "h264"),
        ("video/avc", "h264"),
        ("hevc", "h265"),
        ("H265", "h265"),
        ("av1", "av1"),
        ("rgb8; h264 compressed bgr8", "h264"),
        ("jpeg", ""),
        ("bgr8; jpeg compressed bgr8", ""),
        ("png", ""),
        ("", ""),
    ],
)
def test_a_format_that_names_a_codec_is_video(format: str, codec: str) -> None:
    message = SimpleNamespace(format=format, data=b"\0\0\0\1abc")
    assert holds_video(message) == bool(codec)
    header: Any = SimpleNamespace(stamp=SimpleNamespace(sec=3, nanosec=5))
    assert not codec or video_packet(message, header).codec == codec
    # Whatever is said of them.
    for kind in ("jpeg", "png"):
        assert not holds_video(SimpleNamespace(format=format, data=encode_compressed(picture(), kind)))

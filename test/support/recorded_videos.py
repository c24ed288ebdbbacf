"""Videos of a moving picture, encoded as vehicles do, and recorded in every form that is read."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
from google.protobuf import descriptor_pb2, message_factory, timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Rosbag1Writer
from rosbags.rosbag2 import StoragePlugin, Writer

from video_encoding import Video, encode
from zmask_ros.io.bags.message_types import ros_types
from zmask_ros.io.bags.writer import COMPRESSED_IMAGE
from zmask_ros.io.images.video_stream.decoder import VideoPacket
from zmask_ros.io.stamps import NANOSECONDS

START_NS, STEP_NS = 1_700_000_000 * NANOSECONDS, 40_000_000
WIDTH, HEIGHT = 96, 64
FRAMES, GROUP = 36, 9
TOPIC = "/front/image_raw/foxglove"
ENCODERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "h264": ("h264", "libx264", {"tune": "zerolatency", "preset": "veryfast"}),
    "h264, B frames": ("h264", "libx264", {"preset": "medium"}),
    "h264, open groups": ("h264", "libx264", {"preset": "medium", "x264-params": "open-gop=1"}),
    "h265": ("h265", "libx265", {"tune": "zerolatency", "preset": "fast", "x265-params": "log-level=none"}),
    "h265, B frames": ("h265", "libx265", {"preset": "fast", "x265-params": "log-level=none"}),
    "h265, checksums": (
        "h265",
        "libx265",
        {"tune": "zerolatency", "preset": "fast", "x265-params": "log-level=none:hash=1"},
    ),
    "av1": ("av1", "libsvtav1", {"preset": "10", "svtav1-params": "pred-struct=1"}),
    "av1, hidden frames": ("av1", "libsvtav1", {"preset": "10"}),
    "vp9": (
        "vp9",
        "libvpx-vp9",
        {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "30", "b": "0"},
    ),
    "vp9, hidden frames": (
        "vp9",
        "libvpx-vp9",
        {"deadline": "good", "cpu-used": "2", "lag-in-frames": "25", "auto-alt-ref": "1", "crf": "30", "b": "0"},
    ),
}
"""By what a video is like: its codec, FFmpeg's encoder, and the encoder's options."""
REORDERED: dict[str, tuple[str, str, dict[str, str]]] = {
    f"{encoder}, {parameters}": (codec, encoder, {"preset": preset, f"{encoder[3:]}-params": parameters})
    for codec, encoder, preset, more, choices in (
        (
            "h264",
            "libx264",
            "medium",
            "",
            (
                "open-gop=1:bframes=5:b-adapt=0",
                "open-gop=1:bframes=7:b-adapt=0:ref=4",
                "open-gop=1:bframes=2:b-adapt=0:b-pyramid=none:ref=4",
                "open-gop=1:b-pyramid=strict",
                "bframes=5:b-adapt=0:ref=5:weightp=2",
            ),
        ),
        (
            "h265",
            "libx265",
            "fast",
            ":log-level=none",
            ("open-gop=1:bframes=5:b-adapt=0:ref=4", "open-gop=1:bframes=3:b-pyramid=0", "open-gop=0:bframes=4:ref=4"),
        ),
    )
    for parameters in (f"{choice}{more}" for choice in choices)
}
"""More of those whose packets come in another order than their pictures are shown, with all kinds of references."""
WITHOUT_DELAY = ("h264", "h265", "h265, checksums", "av1", "vp9")
"""Those of which each packet can be decoded when it comes."""


def stamp_ns(number: int) -> int:
    return START_NS + number * STEP_NS


@functools.cache
def moving_pictures(count: int = FRAMES, width: int = WIDTH, height: int = HEIGHT) -> tuple[np.ndarray, ...]:
    """uint8 [height, width, 3] RGB: the view moves, so that a picture cannot stand for another."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width + 4 * count, 3), np.uint8)
    wide = cv2.GaussianBlur(noise, (0, 0), 3).astype(float) * 4 - 384
    view = wide.clip(0, 255).astype(np.uint8)
    return tuple(np.ascontiguousarray(view[:, 4 * index : 4 * index + width]) for index in range(count))


@functools.cache
def video(name: str) -> Video:
    """The moving pictures, encoded as `ENCODERS` or `REORDERED` names it."""
    codec, encoder, options = (ENCODERS | REORDERED)[name]
    return encode(codec, encoder, moving_pictures(), GROUP, options)


def packet(whole: Video, place: int) -> VideoPacket:
    """The packet at this place."""
    number, data = whole.packets[place]
    return VideoPacket(whole.codec, data, stamp_ns(number))


def decoded(name: str) -> list[np.ndarray]:
    """The pictures of a whole video as PyAV alone decodes them, in their order."""
    return _decoded(video(name))


@functools.cache
def _decoded(whole: Video) -> list[np.ndarray]:
    context = av.CodecContext.create({"h265": "hevc", "av1": "libdav1d"}.get(whole.codec, whole.codec), "r")
    frames = [frame for _, data in whole.packets for frame in context.decode(av.Packet(data))]
    return [frame.to_ndarray(format="rgb24") for frame in [*frames, *context.decode(None)]]


def ros_message(msgtype: str, packet: VideoPacket, encoding: str = "cdr") -> Any:
    """A message of ROS with one packet."""
    types = ros_types(encoding).types
    time_type = types["builtin_interfaces/msg/Time"]
    stamp = time_type(*divmod(packet.stamp_ns, NANOSECONDS))
    data = np.frombuffer(packet.data, np.uint8)
    if msgtype.startswith("foxglove"):
        return types[msgtype](timestamp=stamp, frame_id="front", data=data, format=packet.codec)
    make = types["std_msgs/msg/Header"]
    header = make(0, stamp, "front") if encoding == "ros1" else make(stamp, "front")
    if msgtype == COMPRESSED_IMAGE:
        return types[msgtype](header, packet.codec, data)
    name = {"h264": "libx264", "h265": "hevc;yuv420p;bgr8;bgr8", "av1": "libsvtav1", "vp9": "libvpx-vp9"}[packet.codec]
    return types[msgtype](header, WIDTH, HEIGHT, name, 0, 1, False, data)


def write_rosbag2(path: Path, msgtype: str, packets: Sequence[VideoPacket], storage: StoragePlugin) -> Path:
    store = ros_types()
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connection = writer.add_connection(TOPIC, msgtype, typestore=store)
        for place, packet in enumerate(packets):
            writer.write(connection, stamp_ns(place), store.serialize_cdr(ros_message(msgtype, packet), msgtype))
    return path


def write_rosbag1(path: Path, msgtype: str, packets: Sequence[VideoPacket]) -> Path:
    store = ros_types("ros1")
    with Rosbag1Writer(path) as writer:
        connection = writer.add_connection(TOPIC, msgtype, typestore=store)
        for place, packet in enumerate(packets):
            message = ros_message(msgtype, packet, "ros1")
            writer.write(connection, stamp_ns(place), store.serialize_ros1(message, msgtype))
    return path


def write_foxglove(path: Path, name: str, encoding: str, messages: Sequence[dict[str, Any]]) -> Path:
    """An mcap as Foxglove's own writers leave it: protobuf with its descriptors, or JSON.

    Args:
        name: of the type in Foxglove's package.
        encoding: protobuf or json.
        messages: fields; `stamp_ns` becomes the `timestamp`.
    """
    serialize, schema = (_protobuf if encoding == "protobuf" else _json)(name)
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start("", "a test")
        kind = "protobuf" if encoding == "protobuf" else "jsonschema"
        identity = writer.register_schema(f"foxglove.{name}", kind, schema)
        channel = writer.register_channel(TOPIC, encoding, identity)
        for place, fields in enumerate(messages):
            writer.add_message(channel, stamp_ns(place), serialize(dict(fields)), stamp_ns(place))
        writer.finish()
    return path


# Field numbers as Foxglove has them; a reader may not depend on them.
_FIELDS = {
    "CompressedVideo": {"timestamp": 1, "frame_id": 2, "data": 3, "format": 4},
    "CompressedImage": {"timestamp": 1, "frame_id": 4, "data": 2, "format": 3},
    "RawImage": {"timestamp": 1, "frame_id": 7, "width": 2, "height": 3, "encoding": 4, "step": 5, "data": 6},
}


def _protobuf(name: str) -> tuple[Any, bytes]:
    own = descriptor_pb2.FileDescriptorProto(name=f"foxglove/{name}.proto", package="foxglove", syntax="proto3")
    own.dependency.append("google/protobuf/timestamp.proto")
    message = own.message_type.add(name=name)
    kind = descriptor_pb2.FieldDescriptorProto
    for field, number in _FIELDS[name].items():
        added = message.field.add(name=field, number=number, label=kind.LABEL_OPTIONAL)
        if field == "timestamp":
            added.type, added.type_name = kind.TYPE_MESSAGE, ".google.protobuf.Timestamp"
        elif field in ("width", "height", "step"):
            added.type = kind.TYPE_FIXED32
        else:
            added.type = kind.TYPE_BYTES if field == "data" else kind.TYPE_STRING
    pool = DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(own.SerializeToString())
    message_class = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"foxglove.{name}"))

    def serialize(fields: dict[str, Any]) -> bytes:
        stamp = fields.pop("stamp_ns")
        made = message_class(**fields)
        made.timestamp.seconds, made.timestamp.nanos = divmod(stamp, NANOSECONDS)
        return made.SerializeToString()

    # What is imported last, as one of Foxglove's writers puts it.
    described = descriptor_pb2.FileDescriptorSet(file=[own])
    described.file.add().ParseFromString(timestamp_pb2.DESCRIPTOR.serialized_pb)
    return serialize, described.SerializeToString()


def _json(name: str) -> tuple[Any, bytes]:
    def serialize(fields: dict[str, Any]) -> bytes:
        seconds, nanoseconds = divmod(fields.pop("stamp_ns"), NANOSECONDS)
        fields["data"] = base64.b64encode(fields["data"]).decode()
        return json.dumps({"timestamp": {"sec": seconds, "nsec": nanoseconds}, **fields}).encode()

    return serialize, b'{"title": "foxglove.%s", "type": "object"}' % name.encode()


def video_fields(packet: VideoPacket) -> dict[str, Any]:
    """A packet as the fields of a CompressedVideo, for `write_foxglove`."""
    return {"stamp_ns": packet.stamp_ns, "frame_id": "front", "data": packet.data, "format": packet.codec}


def as_message(packet: VideoPacket) -> SimpleNamespace:
    """A packet with the fields of an FFMPEGPacket that are looked at."""
    return SimpleNamespace(encoding=packet.codec, data=packet.data)

"""The messages of one image topic: which types are read, and what becomes of each message of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from zmask_ros.io.bags.camera_info import CameraInfoFields, camera_info_fields
from zmask_ros.io.bags.foxglove import AS_ROS, foxglove_header
from zmask_ros.io.bags.message_types import FOXGLOVE_ENCODINGS, ROS_ENCODINGS, MessageTypes
from zmask_ros.io.bags.raw_messages import RawMessage, TopicInfo
from zmask_ros.io.images.video_stream.decoder import Decoded, VideoStream
from zmask_ros.io.images.video_stream.messages import FFMPEG_PACKET, VideoPicture, holds_video, video_packet

_HEADER = ("header.stamp.sec", "header.stamp.nanosec", "header.frame_id")
_RAW = ("height", "width", "encoding", "step", "data")
_VIDEO, _COMPRESSED = "CompressedVideo", "CompressedImage"
_FOXGLOVE_FIELDS = {
    "RawImage": attrgetter("timestamp", "frame_id", *_RAW),
    _COMPRESSED: attrgetter("timestamp", "frame_id", "format", "data"),
    _VIDEO: attrgetter("timestamp", "frame_id", "format", "data"),
}
_FOXGLOVE_PACKAGES = {"foxglove_msgs/msg/": ROS_ENCODINGS, "foxglove.": FOXGLOVE_ENCODINGS}


@dataclass(frozen=True)
class _ImageType:
    """A type of messages with pictures.

    Attributes:
        fields: gets those that are needed; raises what `getattr` raises where there are others.
        encodings: its serializations that are read.
        foxglove: its name in Foxglove's package; empty for others.
        is_video: whether a message can be decoded only after others.
        may_be_video: whether that is so where the format of a message names a codec.
    """

    fields: Callable[[Any], Any]
    encodings: tuple[str, ...] = ROS_ENCODINGS
    foxglove: str = ""
    is_video: bool = False
    may_be_video: bool = False


_TYPES = {
    "sensor_msgs/msg/Image": _ImageType(attrgetter(*_HEADER, *_RAW, "is_bigendian")),
    "sensor_msgs/msg/CompressedImage": _ImageType(attrgetter(*_HEADER, "format", "data"), may_be_video=True),
    FFMPEG_PACKET: _ImageType(attrgetter(*_HEADER, "encoding", "data"), is_video=True),
    **{
        f"{package}{name}": _ImageType(fields, encodings, name, name == _VIDEO, name == _COMPRESSED)
        for package, encodings in _FOXGLOVE_PACKAGES.items()
        for name, fields in _FOXGLOVE_FIELDS.items()
    },
}
_UNREADABLE = "a message of it could not be read"
# Messages with pictures by the names of their types, as they are out there: also those that cannot be read.
_CAMERA_TYPE = re.compile(r"(Images?|Video|FFMPEGPacket|RGBD|(theora|h26\d)\w*/msg/Packet)$")


@dataclass(frozen=True)
class RecordedCameraInfo:
    """A `CameraInfo` as it lies in the bag; it is read when it is asked for."""

    raw: RawMessage
    types: MessageTypes

    def fields(self) -> CameraInfoFields | None:
        """What it says; None if it is damaged."""
        # See `ImageMessages.read`.
        try:
            return camera_info_fields(self.types.deserialize(self.raw))
        except Exception:
            return None


@dataclass(frozen=True)
class StampedMessage:
    """One deserialized message.

    Attributes:
        bag: the bag as the user named it.
        topic, msgtype: such as `/camera/image_raw` and `sensor_msgs/msg/Image`.
        received_ns: when the recorder received it.
        message: the fields of the ROS message, Foxglove's images as those of ROS; of video, a `VideoPicture`.
        index: its place within (bag, topic), counting also the messages that are not handed on; of video, the place at
            which its picture is shown.
        camera_info: the latest one in the namespace of the topic that was received before it, or None.
    """

    bag: Path
    topic: str
    msgtype: str
    received_ns: int
    message: Any
    index: int
    camera_info: RecordedCameraInfo | None = None


def is_readable(topic: TopicInfo) -> bool:
    """Whether a topic has images that can be read."""
    return topic.msgtype in _TYPES and topic.encoding in _TYPES[topic.msgtype].encodings


def why_unread(topic: TopicInfo) -> str:
    """Why a topic with a camera's pictures cannot be read; empty for one that can, and for one without pictures."""
    if is_readable(topic) or not _CAMERA_TYPE.search(topic.msgtype):
        return ""
    if topic.msgtype in _TYPES:
        return f"{topic.name} has {topic.msgtype} serialized as {topic.encoding!r}, which is not read"
    return f"{topic.name} carries {topic.msgtype}, which is not read: republish it as sensor_msgs/msg/CompressedImage"


class ImageMessages:
    """The messages of one image topic of one bag, in the order in which they are read.

    Args:
        bag: as the user named it.
        wanted: whether the message at a place is to be handed on.
        broken: told of each message that cannot be read: its topic, its place, and why.

    Attributes:
        count: how many messages there were so far.
    """

    def __init__(self, bag: Path, wanted: Callable[[int], bool], broken: Callable[[str, int, object], None]) -> None:
        self.count = 0
        self._bag = bag
        self._wanted = wanted
        self._broken = broken
        self._video: VideoStream[StampedMessage] | None = None
        # Whether messages of a type that may be video have been; None: there was none that could be read.
        self._was_video: bool | None = None
        self._shown = 0

    @property
    def next_place(self) -> int:
        """The place of the next message that may be handed on."""
        return self.count if self._video is None else self._shown

    def read(
        self, raw: RawMessage, types: MessageTypes, camera_info: RecordedCameraInfo | None
    ) -> Iterator[StampedMessage]:
        """What is to be handed on once this message has come; of video, that may be none or several messages.

        Raises:
            ZmaskError: it is video, and PyAV is not installed.
        """
        kind, index = _TYPES.get(raw.msgtype), self.count
        self.count += 1
        if not self._is_needed(kind) and not self._wanted(index):
            yield from self._interrupted(_UNREADABLE)
            return
        if kind is None:
            yield from self._interrupted(_UNREADABLE)
            self._broken(raw.topic, index, f"its type is {raw.msgtype!r}, which is none of images: the bag is damaged")
            return
        try:
            message = types.deserialize(raw)
            # A damaged definition gives messages with other fields.
            kind.fields(message)
            header = foxglove_header(message) if kind.foxglove else message.header
            msgtype, to_ros = AS_ROS.get(kind.foxglove, (raw.msgtype, None))
            message = to_ros(message) if to_ros else message
            is_video = kind.is_video or (kind.may_be_video and holds_video(message))
            packet = video_packet(message, header) if is_video else None
        # Damaged bytes make the deserializer raise exceptions of no common class.
        except Exception as error:
            yield from self._interrupted(_UNREADABLE)
            self._broken(raw.topic, index, error)
            return
        self._was_video = self._was_video or is_video
        stamped = StampedMessage(self._bag, raw.topic, msgtype, raw.received_ns, message, index, camera_info)
        if packet is None:
            yield from self._interrupted()
            if self._wanted(index):
                yield stamped
            return
        self._video = self._video or VideoStream(low_delay=False)
        stamped = replace(stamped, message=VideoPicture(header, None))
        yield from self._pictures(self._video, self._video.push(stamped, packet))

    def _is_needed(self, kind: _ImageType | None) -> bool:
        """Whether a message has to be read also where it is not handed on: others may be decoded only after it."""
        return kind is not None and (kind.is_video or (kind.may_be_video and self._was_video is not False))

    def _interrupted(self, lost: str = "") -> Iterator[StampedMessage]:
        """What is to be handed on before a message that is no packet of a video; ``lost``, if it may have been one."""
        if self._video is not None:
            yield from self._pictures(self._video, self._video.finish(lost))
        self._shown += 1

    def rest(self) -> Iterator[StampedMessage]:
        """What is to be handed on at the end of the bag."""
        if self._video is not None:
            yield from self._pictures(self._video, self._video.finish())

    def _pictures(
        self, video: VideoStream[StampedMessage], decoded: Iterable[Decoded[StampedMessage]]
    ) -> Iterator[StampedMessage]:
        for one in decoded:
            index, self._shown = self._shown, self._shown + 1
            if self._wanted(index):
                image = None if one.frame is None else video.to_rgb(one.frame)
                picture = VideoPicture(one.source.message.header, image, one.reason)
                yield replace(one.source, message=picture, index=index)

"""How the messages of a bag are read: by the definitions that it carries, and by those of ROS where they do not do.

Foxglove's own writers serialize in protobuf or JSON instead: see `described_messages`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import zstandard
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat, Nodetype
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from zmask_ros.io.bags.described_messages import ProtobufTypes, from_json
from zmask_ros.io.bags.raw_messages import RawMessage
from zmask_ros.io.images.video_stream.messages import FFMPEG_PACKET, FOXGLOVE_VIDEO

ROS_ENCODINGS = ("cdr", "ros1")
"""Serializations of ROS that are read."""
FOXGLOVE_ENCODINGS = ("protobuf", "json")
"""Other serializations that are read."""
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_FORMATS = {
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros1msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
}
_FOXGLOVE_FIELDS = "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
# The types with pictures that are not ROS's own, for bags that do not carry their definitions.
_OTHERS = {
    FOXGLOVE_VIDEO: _FOXGLOVE_FIELDS,
    "foxglove_msgs/msg/CompressedImage": _FOXGLOVE_FIELDS,
    "foxglove_msgs/msg/RawImage": "builtin_interfaces/Time timestamp\nstring frame_id\nuint32 width\nuint32 height\n"
    "string encoding\nuint32 step\nuint8[] data\n",
    FFMPEG_PACKET: "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\n"
    "bool is_bigendian\nuint8[] data\n",
}
_NOT_GIVEN = MessageDefinition(MessageDefinitionFormat.NONE, "")


def message_definition(encoding: str, text: str | bytes) -> MessageDefinition:
    """A definition as it lies in a bag; one without text, or in a language that is not known, counts as not given."""
    plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return MessageDefinition(_FORMATS[encoding], plain) if encoding in _FORMATS and plain.strip() else _NOT_GIVEN


def full_type_name(name: str) -> str:
    """`sensor_msgs/msg/Image`; ROS 1 and own writers say `sensor_msgs/Image`, DDS `sensor_msgs::msg::dds_::Image_`."""
    plain = re.sub(r"::dds_::(\w+)_$", r"::\1", name).replace("::", "/")
    package, _, rest = plain.partition("/")
    return f"{package}/msg/{rest}" if rest and "/" not in rest else plain


@dataclass
class MessageTypes:
    """Turn bytes into messages by the definitions that a bag carries.

    A definition that cannot be used is left aside for ROS's own: one that is not given or not understood, or that lacks
    a field that ROS's type has. Types that it uses without giving them are ROS's own too.

    One store a type: bags of several machines may carry definitions that contradict each other.
    """

    _definitions: dict[str, MessageDefinition] = field(default_factory=dict)
    _stores: dict[tuple[str, str], Any] = field(default_factory=dict)
    _protobuf: ProtobufTypes = field(default_factory=ProtobufTypes)

    def add(self, msgtype: str, definition: MessageDefinition) -> None:
        """Learn a type; the first definition of a type counts."""
        if definition.format != MessageDefinitionFormat.NONE:
            self._definitions.setdefault(msgtype, definition)

    def add_schema(self, msgtype: str, encoding: str, schema: bytes) -> None:
        """Learn a type as an mcap file describes it."""
        if encoding == "protobuf":
            self._protobuf.add(msgtype, schema)
        else:
            self.add(msgtype, message_definition(encoding, schema))

    def deserialize(self, message: RawMessage) -> Any:
        """The message with its fields; whatever a damaged message makes the parser raise is raised.

        Raises:
            ValueError: its serialization is not read, or there is no definition of it that can be used.
        """
        if message.encoding == "protobuf":
            return self._protobuf.deserialize(message.msgtype, bytes(uncompressed(message.data)))
        if message.encoding == "json":
            return from_json(bytes(uncompressed(message.data)))
        if message.encoding not in ROS_ENCODINGS:
            raise ValueError(f"messages that are serialized as '{message.encoding}' are not read")
        key = message.msgtype, message.encoding
        if key not in self._stores:
            self._stores[key] = _store(*key, self._definitions.get(message.msgtype, _NOT_GIVEN))
        store = self._stores[key]
        if store is None:
            raise ValueError(f"the bag has no definition of {message.msgtype} that can be used")
        if message.encoding == "ros1":
            return store.deserialize_ros1(uncompressed(message.data), message.msgtype)
        # Of bytes, rosbags would copy all but the first four.
        return store.deserialize_cdr(memoryview(uncompressed(message.data)), message.msgtype)


@functools.cache
def ros_types(encoding: str = "cdr") -> Any:
    """The messages of ROS 2 Jazzy or, for ``ros1``, of ROS 1 Noetic, and other ones with pictures."""
    store = get_typestore(Stores.ROS1_NOETIC if encoding == "ros1" else Stores.ROS2_JAZZY)
    for msgtype, fields in _OTHERS.items():
        # ROS 1 names the header and the time so, and its FFMPEGPacket had other fields.
        if encoding != "ros1":
            store.register(get_types_from_msg(fields, msgtype))
        elif msgtype != FFMPEG_PACKET:
            store.register(get_types_from_msg(fields.replace("builtin_interfaces/Time", "time"), msgtype))
    return store


def uncompressed(data: bytes | memoryview) -> bytes | memoryview:
    """A message that may have been compressed by itself.

    Only metadata.yaml says whether single messages were compressed, and it may be lost; none begins so by itself.

    Raises:
        zstandard.ZstdError: it is damaged or cut off.
    """
    if data[:4] != _ZSTD_MAGIC:
        return data
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    plain = decompressor.decompress(data)
    if not decompressor.eof:
        raise zstandard.ZstdError("a compressed message is cut off")
    return plain


def _store(msgtype: str, encoding: str, definition: MessageDefinition) -> Any:
    """What reads a type: its own definition, else ROS's, else None."""
    ros = ros_types(encoding)
    try:
        types = _with_what_it_uses(_parsed(definition, msgtype), msgtype, ros.fielddefs)
    # A damaged definition makes the parsers raise exceptions of no common class.
    except Exception:
        return ros if msgtype in ros.fielddefs else None
    store = get_typestore(Stores.EMPTY)
    store.register(types)
    return store


def _parsed(definition: MessageDefinition, msgtype: str) -> dict[str, Any]:
    if definition.format == MessageDefinitionFormat.MSG:
        return get_types_from_msg(definition.data, msgtype)
    types: dict[str, Any] = {}
    separator = "=" * 80 + "\n"
    for part in definition.data.split(separator):
        if part.strip():
            types.update(get_types_from_idl(part.split("\n", 1)[1] if part.startswith("IDL: ") else part))
    return types


def _with_what_it_uses(given: dict[str, Any], msgtype: str, ros: dict[str, Any]) -> dict[str, Any]:
    """``msgtype`` and every type within it, of the definitions ``given``, else of ROS's.

    Raises:
        LookupError: a type is in neither, or lacks a field that ROS's has.
    """
    types: dict[str, Any] = {}
    open_names = [msgtype]
    while open_names:
        name = open_names.pop()
        if name in types:
            continue
        types[name] = given[name] if name in given else ros[name]
        lacking = _field_names(ros.get(name)) - _field_names(types[name])
        if lacking:
            raise LookupError(f"{name} lacks {', '.join(sorted(lacking))}")
        open_names.extend(used for _, description in types[name][1] for used in _names_within(description))
    return types


def _field_names(definition: Any) -> set[str]:
    return {name for name, _ in definition[1]} if definition else set()


def _names_within(description: Any) -> Iterator[str]:
    kind, inner = description
    if kind == Nodetype.NAME:
        yield inner
    elif kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        yield from _names_within(inner[0])

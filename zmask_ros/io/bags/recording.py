"""One storage file of a bag as all readers present it: its topics, its raw messages, and the types of those."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import zstandard
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from zmask_ros.errors import ZmaskError

Serialization = Literal["cdr", "ros1"]
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class BagError(ZmaskError):
    """A bag that is not there, not readable, empty or without the topic that was asked for."""


@dataclass(frozen=True)
class TopicInfo:
    """One topic of one or several bags: its name, its type (`sensor_msgs/msg/Image`), its number of messages."""

    name: str
    msgtype: str
    count: int


@dataclass(frozen=True)
class RawMessage:
    """One message as it lies in the file."""

    topic: str
    msgtype: str
    received_ns: int
    data: bytes


@dataclass
class MessageTypes:
    """Turn bytes into messages by the definitions that a bag carries; by those of ROS itself where it has none.

    One store a type: bags of several machines may carry definitions that contradict each other.
    """

    serialization: Serialization = "cdr"
    _definitions: dict[str, MessageDefinition] = field(default_factory=dict)
    _stores: dict[str, Any] = field(default_factory=dict)

    def add(self, msgtype: str, definition: MessageDefinition) -> None:
        """Learn a type; the first definition of a type counts."""
        if definition.format != MessageDefinitionFormat.NONE:
            self._definitions.setdefault(msgtype, definition)

    def deserialize(self, message: RawMessage) -> Any:
        """The message with its fields; whatever a damaged message makes the parser raise is raised."""
        if message.msgtype not in self._stores:
            self._stores[message.msgtype] = self._store(message.msgtype)
        store = self._stores[message.msgtype]
        if self.serialization == "ros1":
            return store.deserialize_ros1(message.data, message.msgtype)
        return store.deserialize_cdr(_plain(message.data), message.msgtype)

    def _store(self, msgtype: str) -> Any:
        definition = self._definitions.get(msgtype)
        if definition is None:
            return ros_types(self.serialization)
        store = get_typestore(Stores.EMPTY)
        store.register(_parsed(definition, msgtype))
        return store


@functools.cache
def ros_types(serialization: Serialization = "cdr") -> Any:
    """The messages of ROS 2 Jazzy or, for ``ros1``, of ROS 1 Noetic."""
    return get_typestore(Stores.ROS1_NOETIC if serialization == "ros1" else Stores.ROS2_JAZZY)


def _plain(data: bytes) -> bytes:
    """Only metadata.yaml says whether single messages were compressed, and it may be lost; CDR never begins so."""
    return zstandard.ZstdDecompressor().decompressobj().decompress(data) if data[:4] == _ZSTD_MAGIC else data


def _parsed(definition: MessageDefinition, msgtype: str) -> Any:
    if definition.format == MessageDefinitionFormat.MSG:
        return get_types_from_msg(definition.data, msgtype)
    types: dict[str, Any] = {}
    separator = "=" * 80 + "\n"
    for part in definition.data.split(separator):
        if part.strip():
            types.update(get_types_from_idl(part.split("\n", 1)[1] if part.startswith("IDL: ") else part))
    return types


class Recording(ABC):
    """One opened storage file.

    Attributes:
        path: the file.
        topics: what it holds.
        types: how its messages are read.
        damage: empty, or what is wrong with the file; may be found out while reading.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: list[TopicInfo] = []
        self.types = MessageTypes()
        self.damage = ""

    @abstractmethod
    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """The messages of ``topics`` in the order of their reception. A file that breaks off sets `damage` and ends."""

    @abstractmethod
    def close(self) -> None:
        """Give the file back."""


class Scan(Recording):
    """A file that is read from its beginning; opening reads it once to count, so that progress can be shown."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        counts = Counter((message.topic, message.msgtype) for message in self._scan())
        if self.damage and not counts:
            raise BagError(f"{path} is not a readable bag: {self.damage}.")
        self.topics = [TopicInfo(name, msgtype, count) for (name, msgtype), count in counts.items()]

    @abstractmethod
    def _scan(self) -> Iterator[RawMessage]:
        """All messages in the order of the file; sets `damage` where it ends too early."""

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """The messages of ``topics`` in the order of the file."""
        return (message for message in self._scan() if message.topic in topics)

    def close(self) -> None:
        """Nothing is held between two scans."""


def full_type_name(name: str) -> str:
    """ROS 1 says `sensor_msgs/Image` where ROS 2 says `sensor_msgs/msg/Image`."""
    package, _, rest = name.partition("/")
    return f"{package}/msg/{rest}" if rest and "/" not in rest else name

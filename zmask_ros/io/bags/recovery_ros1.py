"""Reader of ROS 1 bags without an index: cut off, or still named `.bag.active` when the power went."""

from __future__ import annotations

import bz2
import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import lz4.frame  # type: ignore[import-untyped]
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat

from zmask_ros.io.bags.recording import MessageTypes, RawMessage, Scan, full_type_name

_MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _CHUNK, _CONNECTION = b"\x02", b"\x05", b"\x07"
_DECOMPRESS: dict[bytes, Callable[[bytes], bytes]] = {
    b"none": bytes,
    b"bz2": bz2.decompress,
    b"lz4": lz4.frame.decompress,
}


class _EndOfBytesError(Exception):
    """A record says that it goes on where there is nothing more."""


@dataclass(frozen=True)
class _Record:
    fields: dict[bytes, bytes]
    data: bytes

    @property
    def kind(self) -> bytes:
        return self.fields.get(b"op", b"")


class Rosbag1Scan(Scan):
    """Reads chunk after chunk from the beginning; of an uncompressed chunk that is cut, the whole messages."""

    def _scan(self) -> Iterator[RawMessage]:
        self.types = MessageTypes("ros1")
        self.damage = "it has no index: its recording was not finished"
        topics: dict[bytes, tuple[str, str]] = {}
        with self.path.open("rb") as stream:
            # Damaged bytes make struct, bz2 and lz4 raise exceptions of no common class.
            try:
                if stream.read(len(_MAGIC)) != _MAGIC:
                    raise _EndOfBytesError("its first line is not that of a ROS 1 bag")
                for record in _all_records(stream):
                    if record.kind == _CONNECTION:
                        topics[record.fields[b"conn"]] = self._learn(record)
                    elif record.kind == _MESSAGE and record.fields[b"conn"] in topics:
                        name, msgtype = topics[record.fields[b"conn"]]
                        yield RawMessage(name, msgtype, _nanoseconds(record.fields[b"time"]), record.data)
            except Exception as error:
                self.damage = f"it is cut off or damaged at byte {stream.tell()} ({error})"

    def _learn(self, record: _Record) -> tuple[str, str]:
        """(topic, type) of a connection."""
        described = _fields(record.data)
        msgtype = full_type_name(described[b"type"].decode())
        text = described[b"message_definition"].decode("utf-8", "replace")
        self.types.add(msgtype, MessageDefinition(MessageDefinitionFormat.MSG, text))
        return record.fields[b"topic"].decode(), msgtype


def _all_records(stream: BinaryIO) -> Iterator[_Record]:
    """The records of the file, those inside of chunks in the place of their chunk."""
    for record in _records(stream):
        if record.kind == _CHUNK:
            yield from _records(io.BytesIO(_DECOMPRESS[record.fields[b"compression"]](record.data)))
        else:
            yield record


def _records(stream: BinaryIO) -> Iterator[_Record]:
    while prefix := stream.read(4):
        fields = _fields(_exactly(stream, _length(prefix)))
        length = _length(_exactly(stream, 4))
        data = stream.read(length)
        if len(data) < length and fields.get(b"compression") != b"none":
            raise _EndOfBytesError("no more bytes")
        yield _Record(fields, data)


def _fields(header: bytes) -> dict[bytes, bytes]:
    fields = {}
    stream = io.BytesIO(header)
    while prefix := stream.read(4):
        name, _, value = _exactly(stream, _length(prefix)).partition(b"=")
        fields[name] = value
    return fields


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise _EndOfBytesError("no more bytes")
    return data


def _length(prefix: bytes) -> int:
    if len(prefix) < 4:
        raise _EndOfBytesError("no more bytes")
    return int(struct.unpack("<I", prefix)[0])


def _nanoseconds(time: bytes) -> int:
    seconds, nanoseconds = struct.unpack("<II", time)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)

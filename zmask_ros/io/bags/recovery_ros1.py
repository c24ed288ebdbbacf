"""Reader of ROS 1 bags without an index: cut off, or still named `.bag.active` when the power went."""

from __future__ import annotations

import bz2
import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

import lz4.frame  # type: ignore[import-untyped]
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag1.reader import Header, ReaderError, RecordType, read_uint32

from zmask_ros.io.bags.recording import BagError, MessageTypes, RawMessage, Scan, full_type_name

_MAGIC = b"#ROSBAG V2.0\n"
_DECOMPRESS: dict[bytes, Callable[[bytes], bytes]] = {
    b"none": bytes,
    b"bz2": bz2.decompress,
    b"lz4": lz4.frame.decompress,
}


class Rosbag1Scan(Scan):
    """Reads chunk after chunk from the beginning; of an uncompressed chunk that is cut, the whole messages."""

    def _scan(self) -> Iterator[RawMessage]:
        self.types = MessageTypes("ros1")
        self.damage = "it has no index: its recording was not finished"
        topics: dict[int, tuple[str, str]] = {}
        with self.path.open("rb") as stream:
            # Damaged bytes make rosbags, bz2 and lz4 raise exceptions of no common class.
            try:
                if stream.read(len(_MAGIC)) != _MAGIC:
                    raise BagError("its first line is not that of a ROS 1 bag")
                for header, data in _records(stream, self.path.stat().st_size):
                    kind = header.get_uint8("op")
                    if kind == RecordType.CONNECTION:
                        topics[header.get_uint32("conn")] = self._learn(header, data)
                    elif kind == RecordType.MSGDATA and header.get_uint32("conn") in topics:
                        name, msgtype = topics[header.get_uint32("conn")]
                        yield RawMessage(name, msgtype, header.get_time("time"), data)
            except Exception as error:
                reason = "no more bytes" if isinstance(error, ReaderError) else error
                self.damage = f"it is cut off or damaged at byte {stream.tell()} ({reason})"

    def _learn(self, header: Header, data: bytes) -> tuple[str, str]:
        """(topic, type) of a connection."""
        # What describes a connection has the form of a header, but not its length before it.
        described = Header.read(io.BytesIO(len(data).to_bytes(4, "little") + data))
        msgtype = full_type_name(described.get_string("type"))
        text = described["message_definition"].decode("utf-8", "replace")
        self.types.add(msgtype, MessageDefinition(MessageDefinitionFormat.MSG, text))
        return header.get_string("topic"), msgtype


def _records(stream: BinaryIO, end: int) -> Iterator[tuple[Header, bytes]]:
    """The records up to byte ``end``, those inside of chunks in the place of their chunk."""
    while stream.tell() < end:
        header = Header.read(stream)
        length = read_uint32(stream)
        data = stream.read(length)
        compression = header.get("compression")
        if len(data) < length and compression != b"none":
            raise ReaderError("no more bytes")
        if header.get_uint8("op") == RecordType.CHUNK:
            content = _DECOMPRESS[header["compression"]](data)
            yield from _records(io.BytesIO(content), len(content))
        else:
            yield header, data

"""Reader of ROS 1 bags: whole ones by their index, cut or unfinished ones (`.bag.active`) from their beginning."""

from __future__ import annotations

import heapq
import io
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rosbags.interfaces import MessageDefinition
from rosbags.rosbag1 import Reader
from rosbags.rosbag1.reader import Header, ReaderError, RecordType, decompressors, normalize, read_bytes, read_uint32

from zmask_ros.io.bags.message_types import full_type_name, message_definition
from zmask_ros.io.bags.raw_messages import BagError, RawMessage, TopicInfo, part_of_chunk
from zmask_ros.io.bags.recording import Recording, another_begins
from zmask_ros.io.bags.storage_files import ROSBAG1_MAGIC
from zmask_ros.io.stamps import NANOSECONDS

_UINT32 = struct.Struct("<L")
_TIME = struct.Struct("<LL")
_MESSAGE, _CONNECTION = (bytes([kind]) for kind in (RecordType.MSGDATA, RecordType.CONNECTION))


class Rosbag1Recording(Recording):
    """A ROS 1 bag.

    Raises:
        BagError: nothing of it can be read.
    """

    format = "ROS 1 bag"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._connections: dict[int, tuple[str, str]] = {}
        self._reader: Any = Reader(path)
        self._lost = 0
        counts = self._counts_of_index() or self._survey()
        self.topics = [TopicInfo(*self._connections[id_], counts[id_], "ros1") for id_ in self._connections]

    def close(self) -> None:
        """Give the file back."""
        if self._reader.bio is not None:
            self._reader.close()

    def _counts_of_index(self) -> Counter[int]:
        """The messages of each connection as its chunks count them; nothing where there is no whole index."""
        counts: Counter[int] = Counter()
        try:
            self._reader.open()
            for chunk in self._reader.chunk_infos:
                counts.update(chunk.connection_counts)
            for connection in self._reader.connections:
                self._learn(connection.id, connection.topic, connection.msgtype, connection.msgdef)
            self.damage = self._behind_the_end()
        except PermissionError as error:
            raise BagError(f"{self.path} may not be read: {error.strerror}.") from error
        # Damaged bytes make rosbags raise exceptions of no common class.
        except Exception:
            return Counter()
        self.index = bool(counts) and counts.keys() <= self._connections.keys()
        self.compression = self._compression()
        return counts if self.index else Counter()

    def _behind_the_end(self) -> str:
        """What is not read behind the index, which is the last in a bag.

        Raises:
            ValueError: the index goes on: it has more records than the bag counts.
        """
        stream = self._reader.bio
        stream.seek(len(ROSBAG1_MAGIC))
        header = Header.read(stream)
        stream.seek(header.get_uint64("index_pos"))
        for _ in range(header.get_uint32("conn_count") + header.get_uint32("chunk_count")):
            Header.read(stream)
            stream.seek(read_uint32(stream), 1)
        end = stream.tell()
        if stream.read(len(ROSBAG1_MAGIC)) == ROSBAG1_MAGIC:
            return another_begins(end)
        stream.seek(end)
        if _begins_record(stream):
            raise ValueError("its index goes on behind the last record that it counts")
        return ""

    def _compression(self) -> str:
        used = {chunk.decompressor for chunk in self._reader.chunks.values()}
        return ", ".join(name for name, function in decompressors.items() if function in used and name != "none")

    def _survey(self) -> Counter[int]:
        """The messages of each connection, counted by reading the file once.

        Raises:
            BagError: nothing makes sense.
        """
        counts = Counter(connection for connection, _, _ in self._walk())
        self.damage = self._found_wrong
        if self.damage and not counts:
            raise BagError(f"{self.path} is not a readable bag: {self.damage}.")
        unnamed = sum(count for connection, count in counts.items() if connection not in self._connections)
        if unnamed:
            self.damage = self.damage or f"{unnamed} messages are of topics that it does not name"
        return counts

    def _indexed(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """By the places that the index gives: not by rosbags' reader, which takes each apart by a file of its own."""
        indexes = [
            [(time, chunk, offset, one.id) for time, chunk, offset in self._reader.indexes[one.id]]
            for one in self._reader.connections
            if one.topic in topics
        ]
        content, position = b"", -1
        for received_ns, chunk, offset, connection in heapq.merge(*indexes):
            if chunk != position:
                content, position = self._content(chunk), chunk
            data = _message_at(content, offset, connection, received_ns)
            yield RawMessage(*self._connections[connection], received_ns, data, "ros1")

    def _content(self, position: int) -> bytes:
        """A chunk, decompressed."""
        chunk = self._reader.chunks[position]
        self._reader.bio.seek(chunk.datapos)
        content: bytes = chunk.decompressor(read_bytes(self._reader.bio, chunk.datasize))
        return content

    def _scan(self, topics: Collection[str]) -> Iterator[RawMessage]:
        for connection, received_ns, data in self._walk():
            name, msgtype = self._connections.get(connection, ("", ""))
            if name in topics:
                yield RawMessage(name, msgtype, received_ns, data, "ros1")

    def _walk(self) -> Iterator[tuple[int, int, bytes]]:
        """(connection, time, data) of all messages in the order of the file; damaged chunks are passed over."""
        self._lost, self._found_wrong = 0, ""
        with self.path.open("rb") as stream:
            # Damaged bytes make rosbags, bz2 and lz4 raise exceptions of no common class.
            try:
                if stream.read(len(ROSBAG1_MAGIC)) != ROSBAG1_MAGIC:
                    raise ValueError("its first line is not that of a ROS 1 bag")
                size = self.path.stat().st_size
                for kind, header, data in self._records(stream, size):
                    if kind == RecordType.BAGHEADER:
                        self._found_wrong = _without_index(header.get_uint64("index_pos"), size)
                    elif kind == RecordType.CONNECTION:
                        self._learn_record(header, data)
                    elif kind == RecordType.MSGDATA:
                        yield header.get_uint32("conn"), header.get_time("time"), data
            except Exception as error:
                reason = "no more bytes" if isinstance(error, ReaderError) else error
                self._found_wrong = f"it is cut off or damaged at byte {stream.tell()} ({reason})"
        if self._lost:
            self._found_wrong = self._found_wrong or f"{self._lost} damaged part(s) (chunks) of it were passed over"

    def _records(self, stream: BinaryIO, end: int) -> Iterator[tuple[int, Header, bytes]]:
        """The records up to byte ``end``, those inside of chunks in the place of their chunk."""
        while stream.tell() < end:
            header = Header.read(stream)
            length = read_uint32(stream)
            data = stream.read(length)
            kind = header.get_uint8("op")
            is_cut = len(data) < length
            if kind != RecordType.CHUNK:
                if is_cut:
                    raise ReaderError("no more bytes")
                yield kind, header, data
                continue
            try:
                content = decompressors[header.get_string("compression")](data)
                yield from self._records(io.BytesIO(content), length if is_cut else len(content))
            # See `_walk`.
            except Exception as error:
                # Of an uncompressed chunk that is cut, the whole messages were read.
                if is_cut:
                    raise ReaderError("no more bytes") from error
                self._lost += 1

    def _learn_record(self, header: Header, data: bytes) -> None:
        # What describes a connection has the form of a header, but not its length before it.
        described = Header.read(io.BytesIO(len(data).to_bytes(4, "little") + data))
        definition = message_definition("ros1msg", described.get("message_definition", b""))
        topic = normalize(header.get_string("topic"))
        self._learn(header.get_uint32("conn"), topic, described.get_string("type"), definition)

    def _learn(self, connection: int, topic: str, msgtype: str, definition: MessageDefinition) -> None:
        self._connections[connection] = topic, full_type_name(msgtype)
        self.types.add(full_type_name(msgtype), definition)


def _message_at(content: bytes, at: int, connection: int, received_ns: int) -> bytes | memoryview:
    """The data of a message in a chunk, behind the descriptions of connections before it.

    Raises:
        ReaderError: what is there is another message, or none.
        struct.error: the chunk ends before it.
    """
    while True:
        (length,) = _UINT32.unpack_from(content, at)
        fields, at = _fields(content, at + _UINT32.size, length), at + _UINT32.size + length
        (size,) = _UINT32.unpack_from(content, at)
        at += _UINT32.size
        if fields.get(b"op") != _CONNECTION:
            break
        at += size
    if fields.get(b"op") != _MESSAGE or fields.get(b"conn") != _UINT32.pack(connection):
        raise ReaderError("a message is not where the index says")
    if fields.get(b"time") != _TIME.pack(*divmod(received_ns, NANOSECONDS)):
        raise ReaderError("a message is of another time than the index says")
    if at + size > len(content):
        raise ReaderError("no more bytes")
    return part_of_chunk(content, at, at + size)


def _fields(content: bytes, at: int, length: int) -> dict[bytes, bytes]:
    """The fields of a header of so many bytes."""
    fields, end = {}, at + length
    while at < end:
        (size,) = _UINT32.unpack_from(content, at)
        name, _, value = content[at + _UINT32.size : at + _UINT32.size + size].partition(b"=")
        fields[name] = value
        at += _UINT32.size + size
    return fields


def _begins_record(stream: BinaryIO) -> bool:
    # Damaged bytes make rosbags raise exceptions of no common class.
    try:
        return Header.read(stream).get_uint8("op") in set(RecordType)
    except Exception:
        return False


def _without_index(index: int, size: int) -> str:
    """What is wrong with a file of so many bytes whose index should begin at byte ``index``; empty if nothing."""
    if not index:
        return "it has no index: its recording was not finished"
    # It may be cut between two of its records.
    return f"it is cut off at byte {size}, before its index" if index >= size else ""

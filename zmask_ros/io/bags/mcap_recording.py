"""Reader of mcap files: whole ones by what index they have, cut or damaged ones as far as their bytes make sense.

Whatever of an mcap is optional may be missing: chunks, the message index, the chunk index, schemas and channels in the
summary, the statistics, the summary itself.
"""

from __future__ import annotations

import heapq
import mmap
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import lz4.frame  # type: ignore[import-untyped]
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, Header, Schema, Statistics
from mcap.stream_reader import StreamReader

from zmask_ros.io.bags.message_types import full_type_name
from zmask_ros.io.bags.offered_qos import read_offered_qos
from zmask_ros.io.bags.raw_messages import BagError, RawMessage, TopicInfo, part_of_chunk
from zmask_ros.io.bags.recording import Recording, another_begins
from zmask_ros.io.bags.storage_files import MCAP_MAGIC

_SECOND_FILE = MCAP_MAGIC + bytes([Opcode.HEADER])
_RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQII")
_LENGTH = struct.Struct("<Q")
# Record, summary's start, summary offsets' start, checksum of the summary, magic.
_FOOTER = struct.Struct("<BQQQI8s")
# Of each message: its channel, its time, and its data if they are wanted.
_Message = tuple[int, int, "bytes | memoryview | None"]

_DECOMPRESS: dict[str, Callable[[memoryview, int], bytes | memoryview]] = {
    "": lambda data, _: data,
    "lz4": lambda data, _: lz4.frame.decompress(data),
    "zstd": lambda data, size: zstandard.ZstdDecompressor().decompress(data, max_output_size=size),
}


@dataclass(frozen=True)
class _Topic:
    """What a channel says of its messages."""

    name: str
    msgtype: str
    encoding: str


@dataclass
class _Summary:
    """What stands at the end of the file; all of it is optional."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    statistics: Statistics | None = None
    chunks: list[ChunkIndex] = field(default_factory=list)


class McapRecording(Recording):
    """An mcap file.

    Messages are counted by the statistics; where these are missing or cannot be relied on, the file is read once to
    count them when it is opened.

    Raises:
        BagError: nothing of it can be read.
    """

    format = "mcap"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._schemas: dict[int, Schema] = {}
        self._topics: dict[int, _Topic] = {}
        self._chunks: list[ChunkIndex] = []
        self._size = path.stat().st_size
        with path.open("rb") as stream:
            summary, counts = _Summary(), None
            # The parsers of damaged bytes raise exceptions of no common class.
            try:
                self._read_header(stream)
                summary = _read_summary(stream, self._size)
                counts = _counts(summary)
            except Exception:
                counts = None
        for schema in summary.schemas.values():
            self._learn_schema(schema)
        for channel in summary.channels.values():
            self._learn_channel(channel)
        self.topics = self._counted(counts or self._survey(summary.statistics))
        self._chunks = sorted(summary.chunks, key=lambda chunk: (chunk.message_start_time, chunk.chunk_start_offset))
        self.index = counts is not None and bool(self._chunks)
        self.compression = self.compression or ", ".join(sorted({chunk.compression for chunk in self._chunks} - {""}))

    def close(self) -> None:
        """Nothing is held between two readings."""

    def _read_header(self, stream: BinaryIO) -> None:
        """What the first record says of the file."""
        stream.seek(len(MCAP_MAGIC))
        _, length = _record_head(stream, self._size)
        header = Header.read(ReadDataStream(BytesIO(stream.read(length))))
        self.profile, self.writer = header.profile, header.library

    def _learn_schema(self, schema: Schema) -> None:
        self._schemas[schema.id] = schema
        self.types.add_schema(full_type_name(schema.name), schema.encoding, schema.data)

    def _learn_channel(self, channel: Channel) -> None:
        schema = self._schemas.get(channel.schema_id)
        msgtype = full_type_name(schema.name) if schema else ""
        self._topics[channel.id] = _Topic(channel.topic, msgtype, channel.message_encoding or "cdr")
        if (qos := read_offered_qos(channel.metadata.get("offered_qos_profiles"))) is not None:
            self.offered[channel.topic] = qos

    def _survey(self, statistics: Statistics | None) -> dict[int, int]:
        """The messages of each channel, counted by reading the file once.

        Raises:
            BagError: nothing makes sense.
        """
        counts = Counter(channel for channel, _, _ in self._walk(()))
        unnamed = sum(count for channel, count in counts.items() if channel not in self._topics)
        lost = f"{unnamed} messages are of topics that it does not name" if unnamed else ""
        if statistics is not None and counts.total() < statistics.message_count:
            counted = statistics.message_count
            lost = f"{counted - counts.total()} of {counted} messages are missing in it"
        self.damage = self._found_wrong or lost
        if self.damage and not counts:
            raise BagError(f"{self.path} is not a readable bag: {self.damage}.")
        return counts

    def _counted(self, counts: dict[int, int]) -> list[TopicInfo]:
        return [
            TopicInfo(topic.name, topic.msgtype, counts.get(channel, 0), topic.encoding)
            for channel, topic in self._topics.items()
            # A channel without messages may have left its schema behind.
            if topic.msgtype or counts.get(channel, 0)
        ]

    def _indexed(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """Chunk by chunk; messages wait while a chunk is to come that may hold older ones."""
        channels = {channel for channel, topic in self._topics.items() if topic.name in topics}
        waiting: list[tuple[int, int, RawMessage]] = []
        serial = 0
        with self.path.open("rb") as stream:
            for chunk in self._chunks:
                while waiting and waiting[0][0] < chunk.message_start_time:
                    yield heapq.heappop(waiting)[2]
                # No entries mean that it is not known what is in the chunk.
                if chunk.message_index_offsets and channels.isdisjoint(chunk.message_index_offsets):
                    continue
                for message in self._messages_at(chunk, stream, topics):
                    serial += 1
                    heapq.heappush(waiting, (message.received_ns, serial, message))
        while waiting:
            yield heapq.heappop(waiting)[2]

    def _messages_at(self, chunk: ChunkIndex, stream: BinaryIO, topics: Collection[str]) -> list[RawMessage]:
        """The messages of a chunk; none if it is damaged, or is not where the index says."""
        # See `__init__`.
        with suppress(Exception):
            stream.seek(chunk.chunk_start_offset)
            opcode, length = _record_head(stream, self._size)
            if opcode == Opcode.CHUNK:
                return list(self._wanted(self._within(_contents(stream.read(length)), topics)))
        return []

    def _scan(self, topics: Collection[str]) -> Iterator[RawMessage]:
        return self._wanted(self._walk(topics))

    def _wanted(self, messages: Iterator[_Message]) -> Iterator[RawMessage]:
        for channel, received_ns, data in messages:
            if data is not None:
                topic = self._topics[channel]
                yield RawMessage(topic.name, topic.msgtype, received_ns, data, topic.encoding)

    def _walk(self, topics: Collection[str]) -> Iterator[_Message]:
        """All messages in the order of the file; damaged chunks are passed over."""
        lost, first, self._found_wrong = 0, "", ""
        with self.path.open("rb") as stream:
            # See `__init__`.
            try:
                if stream.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
                    raise McapError("it does not begin as an mcap file does")
                while (head := _record_head(stream, self._size))[0] not in (Opcode.DATA_END, Opcode.FOOTER):
                    opcode, length = head
                    if opcode == Opcode.HEADER and stream.tell() > len(MCAP_MAGIC) + _RECORD.size:
                        # Its channels are others, of the same numbers.
                        raise McapError("another file begins in it")
                    if opcode == Opcode.MESSAGE:
                        yield self._message(stream, length, topics)
                    elif opcode == Opcode.CHUNK:
                        body = stream.read(length)
                        try:
                            self.compression = self.compression or _compression(memoryview(body))
                            yield from self._within(_contents(body), topics)
                        except Exception as error:
                            lost += 1
                            first = first or str(error)
                    else:
                        self._learn_record(opcode, stream.read(length))
                self._found_wrong = _behind_the_end(stream, *head)
            except Exception as error:
                reason = "no more bytes" if isinstance(error, struct.error) or not str(error) else error
                self._found_wrong = f"it is cut off or damaged at byte {stream.tell()} of {self._size} ({reason})"
        if lost:
            self._found_wrong = self._found_wrong or f"{lost} damaged part(s) (chunks) of it were passed over ({first})"

    def _message(self, stream: BinaryIO, length: int, topics: Collection[str]) -> _Message:
        """A message that is in no chunk; what is not wanted of it is not read."""
        channel, _, received_ns, _ = _MESSAGE.unpack(stream.read(_MESSAGE.size))
        rest = length - _MESSAGE.size
        if self._is_of(channel, topics):
            return channel, received_ns, stream.read(rest)
        stream.seek(rest, 1)
        return channel, received_ns, None

    def _within(self, contents: bytes | memoryview, topics: Collection[str]) -> Iterator[_Message]:
        """The messages of a chunk."""
        at = 0
        while at < len(contents):
            opcode, length = _RECORD.unpack_from(contents, at)
            at += _RECORD.size
            if at + length > len(contents):
                raise McapError("a record is longer than its chunk")
            if opcode == Opcode.MESSAGE:
                channel, _, received_ns, _ = _MESSAGE.unpack_from(contents, at)
                wanted = self._is_of(channel, topics)
                data = part_of_chunk(contents, at + _MESSAGE.size, at + length) if wanted else None
                yield channel, received_ns, data
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._learn_record(opcode, bytes(contents[at : at + length]))
            at += length

    def _is_of(self, channel: int, topics: Collection[str]) -> bool:
        topic = self._topics.get(channel)
        return topic is not None and topic.name in topics

    def _learn_record(self, opcode: int, body: bytes) -> None:
        if _SECOND_FILE in body:
            raise McapError("another file begins in it")
        if opcode == Opcode.SCHEMA:
            self._learn_schema(Schema.read(ReadDataStream(BytesIO(body))))
        elif opcode == Opcode.CHANNEL:
            self._learn_channel(Channel.read(ReadDataStream(BytesIO(body))))


def _record_head(stream: BinaryIO, size: int) -> tuple[int, int]:
    """Kind and length of the next record. A damaged length must not become an allocation."""
    opcode, length = _RECORD.unpack(stream.read(_RECORD.size))
    if length > size - stream.tell():
        raise McapError("no more bytes")
    return opcode, length


def _behind_the_end(stream: BinaryIO, opcode: int, length: int) -> str:
    """What is not read behind the last data of the file, or why that is of another file.

    Args:
        stream: stands in the record that ends the data, or in the footer where that is missing, behind its head.
        opcode, length: of that record.
    """
    begin = stream.tell()
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as bytes_of_file:
        other = bytes_of_file.find(_SECOND_FILE, begin)
        if other >= 0:
            return another_begins(other)
        last, _, summary, _, _, magic = _FOOTER.unpack(bytes_of_file[-_FOOTER.size :])
    # A record that was cut, and the beginning of the next file, may together be as long as it says.
    has_footer = last == Opcode.FOOTER and magic == MCAP_MAGIC
    if opcode == Opcode.DATA_END and has_footer and summary not in (0, begin + length):
        return "its end is that of another file, which begins in it"
    return ""


def _compression(body: memoryview) -> str:
    *_, length = _CHUNK.unpack_from(body)
    return bytes(body[_CHUNK.size : _CHUNK.size + length]).decode()


def _contents(body: bytes) -> bytes | memoryview:
    """The records of a chunk, decompressed.

    Raises:
        McapError: its compression is not known, or its checksum is another one.
    """
    view = memoryview(body)
    _, _, size, checksum, name_length = _CHUNK.unpack_from(view)
    begin = _CHUNK.size + name_length
    compression = _compression(view)
    (length,) = _LENGTH.unpack_from(view, begin)
    begin += _LENGTH.size
    if compression not in _DECOMPRESS:
        raise McapError(f"its compression {compression!r} is not known")
    contents = _DECOMPRESS[compression](view[begin : begin + length], size)
    if len(contents) != size or (checksum and zlib.crc32(contents) != checksum):
        raise McapError("a chunk is damaged")
    return contents


def _read_summary(stream: BinaryIO, size: int) -> _Summary:
    """What stands at the end of the file; nothing where it has no whole end."""
    summary = _Summary()
    stream.seek(-_FOOTER.size, 2)
    opcode, _, start, _, checksum, magic = _FOOTER.unpack(stream.read(_FOOTER.size))
    if opcode != Opcode.FOOTER or magic != MCAP_MAGIC or not start:
        return summary
    stream.seek(start)
    data = stream.read()
    # Of several files in one, the summary of the last says nothing of the others.
    if MCAP_MAGIC in data[: -len(MCAP_MAGIC)]:
        return summary
    before_checksum = len(data) - len(MCAP_MAGIC) - 4
    if checksum and zlib.crc32(data[:before_checksum]) != checksum:
        return summary
    for record in StreamReader(BytesIO(data), skip_magic=True, record_size_limit=size).records:
        if isinstance(record, Schema):
            summary.schemas[record.id] = record
        elif isinstance(record, Channel):
            summary.channels[record.id] = record
        elif isinstance(record, Statistics):
            summary.statistics = record
        elif isinstance(record, ChunkIndex):
            summary.chunks.append(record)
    return summary


def _counts(summary: _Summary) -> dict[int, int] | None:
    """The messages of each channel as the summary counts them; None where it leaves something out."""
    if not all(not channel.schema_id or channel.schema_id in summary.schemas for channel in summary.channels.values()):
        return None
    statistics = summary.statistics
    if statistics is None:
        # A message index may leave out messages, and nothing would tell.
        return None
    counts = {channel: count for channel, count in statistics.channel_message_counts.items() if count}
    indexed: set[int] = set().union(*(chunk.message_index_offsets for chunk in summary.chunks))
    agree = (
        indexed <= counts.keys() <= summary.channels.keys()
        and statistics.message_count == sum(counts.values()) > 0
        and statistics.chunk_count == len(summary.chunks)
    )
    return counts if agree else None

"""Readers of rosbag2 storage files without an index: cut off by a full disk or a power cut, or never finished.

They read forward as far as the bytes make sense and say in `damage` where that ended.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from mcap.exceptions import McapError
from mcap.records import Channel, Chunk, Footer, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat

from zmask_ros.io.bags.recording import RawMessage, Scan, full_type_name

_FORMATS = {
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros1msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
}


def _definition(encoding: str, text: str) -> MessageDefinition:
    return MessageDefinition(_FORMATS.get(encoding, MessageDefinitionFormat.NONE), text)


class McapScan(Scan):
    """An mcap file without a footer or with broken chunks. A chunk that does not decompress is passed over."""

    def _scan(self) -> Iterator[RawMessage]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, tuple[str, str]] = {}
        for record in self._records():
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record.topic, self._learn(record, schemas.get(record.schema_id))
            elif isinstance(record, Message) and record.channel_id in channels:
                yield RawMessage(*channels[record.channel_id], record.log_time, record.data)

    def _learn(self, channel: Channel, schema: Schema | None) -> str:
        """The type of the channel's messages, from now on known; empty without a schema."""
        if schema is None:
            return ""
        if channel.message_encoding == "ros1":
            self.types.serialization = "ros1"
        msgtype = full_type_name(schema.name)
        self.types.add(msgtype, _definition(schema.encoding, schema.data.decode("utf-8", "replace")))
        return msgtype

    def _records(self) -> Iterator[McapRecord]:
        lost = 0
        with self.path.open("rb") as stream:
            # A damaged length must not become an allocation: no record is larger than the file.
            reader = StreamReader(stream, emit_chunks=True, record_size_limit=self.path.stat().st_size)
            try:
                for record in reader.records:
                    if not isinstance(record, Chunk):
                        yield record
                        if isinstance(record, Footer):
                            break
                        continue
                    contents = _contents(record)
                    lost += not contents
                    yield from contents
            # The parser has no common class for bytes that make no sense.
            except Exception as error:
                self.damage = f"it is cut off or damaged at byte {stream.tell()} ({_reason(error)})"
        if lost:
            self.damage = self.damage or f"{lost} damaged parts (chunks) were passed over"


def _contents(chunk: Chunk) -> list[McapRecord]:
    """The records of a chunk; none if its bytes are damaged."""
    try:
        return breakup_chunk(chunk, validate_crc=True)
    # As above.
    except Exception:
        return []


def _reason(error: Exception) -> str:
    if isinstance(error, McapError) and str(error):
        return str(error)
    return "no more bytes" if type(error).__name__ in ("EndOfFile", "error") else f"{error}"


class SqliteScan(Scan):
    """An sqlite3 storage whose pages end before its header says, or that still has its write-ahead log."""

    def _scan(self) -> Iterator[RawMessage]:
        # An immutable database is read without locks, so also from a read-only disk, but without its log.
        mode = "mode=ro" if write_ahead_log(self.path) else "mode=ro&immutable=1"
        with closing(sqlite3.connect(f"file:{quote(str(self.path))}?{mode}", uri=True)) as connection:
            try:
                # Otherwise SQLite refuses a file that is shorter than its header says, and reads nothing of it.
                connection.execute("PRAGMA writable_schema = ON")
                topics = {row[0]: (row[1], row[2]) for row in connection.execute("SELECT id, name, type FROM topics")}
                self._learn(connection)
                for topic_id, received_ns, data in connection.execute("SELECT topic_id, timestamp, data FROM messages"):
                    if topic_id in topics:
                        yield RawMessage(*topics[topic_id], received_ns, data)
            except sqlite3.Error as error:
                self.damage = f"its database is cut off or damaged ({error})"

    def _learn(self, connection: sqlite3.Connection) -> None:
        query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
        # Bags up to ROS 2 Humble carry no definitions.
        with suppress(sqlite3.OperationalError):
            for msgtype, encoding, text in connection.execute(query):
                self.types.add(msgtype, _definition(encoding, text))


def write_ahead_log(path: Path) -> bool:
    """Whether a recorder was stopped before it moved its last messages from the write-ahead log of a .db3 into it."""
    log = path.with_name(f"{path.name}-wal")
    return log.is_file() and log.stat().st_size > 0

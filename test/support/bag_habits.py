"""Whole bags as recorders leave them: hypothesis chooses the storage, what is left out, and the habits."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
import zstandard
from hypothesis import strategies as st
from mcap._chunk_builder import ChunkBuilder
from mcap.records import Message
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Rosbag1Writer
from rosbags.typesys import Stores, get_typestore

TOPIC, IMAGE, STEERING = "/front/image_raw", "sensor_msgs/msg/Image", "own_msgs/msg/Steering"
ROS1, ROS2 = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_JAZZY)
START_NS, STEP_NS = 1_700_000_000_000_000_000, 100_000_000
SIDE = 4
_QOS = "- history: 1\n  depth: 5\n  reliability: 2\n  durability: 2\n"
# The fields of an image, without the definition of the header that it begins with.
_SHORT = "{}uint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\nuint8[] data\n"
_SHORT1, _SHORT2 = _SHORT.format("Header header\n"), _SHORT.format("std_msgs/Header header\n")
_MD5 = "060021388200f6f0f447d0fcd9c64743"


@dataclass(frozen=True)
class McapHabits:
    """What a writer of mcap does; everything that it can leave out is left out in one bag or another.

    Against the specification some leave messages out of the message index: `unindexed`, all or every second of the
    images.
    """

    chunks: bool
    chunk_size: int
    compression: CompressionType
    index: IndexType
    unindexed: str
    repeat_channels: bool
    repeat_schemas: bool
    statistics: bool
    summary_offsets: bool
    checksums: bool
    profile: str
    attachment: bool


@dataclass(frozen=True)
class SqliteHabits:
    """What a writer of sqlite3 does: `layout` 1 to 4, an index over the time, what a killed one leaves beside it."""

    layout: int
    index: bool
    log: str


@dataclass(frozen=True)
class Rosbag1Habits:
    """What a writer of ROS 1 bags does."""

    compression: str | None
    chunk_size: int


@dataclass(frozen=True)
class MetadataHabits:
    """How a metadata.yaml differs from its storage files; none of it hides a message."""

    version: int
    qos: str
    storage: bool
    topics: str
    names: str


@dataclass(frozen=True)
class Habits:
    """One whole bag.

    Attributes:
        storage: how its files are written.
        count: of its images.
        parts: how many files it is split into.
        set_back: after which image the clock was set back by two seconds; beyond the last: never.
        typename: of the images.
        definition: of the images: whole, without its dependencies, empty, or in a language that nobody knows.
        others: topics beside the images whose types are not known, or which are not serialized as ROS does.
        folder: the name of the folder; empty for a single file.
        metadata: of the folder; None leaves it out.
        twin: what lies beside each storage file of a folder.
    """

    storage: McapHabits | SqliteHabits | Rosbag1Habits
    count: int
    parts: int
    set_back: int
    typename: str
    definition: str
    others: tuple[str, ...]
    folder: str
    metadata: MetadataHabits | None
    twin: str


_MCAP = st.builds(
    McapHabits,
    chunks=st.booleans(),
    chunk_size=st.sampled_from([1, 300, 2**20]),
    compression=st.sampled_from(list(CompressionType)),
    index=st.sampled_from([IndexType.NONE, IndexType.CHUNK, IndexType.MESSAGE, IndexType.ALL]),
    unindexed=st.sampled_from(["", "all", "every second"]),
    repeat_channels=st.booleans(),
    repeat_schemas=st.booleans(),
    statistics=st.booleans(),
    summary_offsets=st.booleans(),
    checksums=st.booleans(),
    profile=st.sampled_from(["ros2", "", "x-own"]),
    attachment=st.booleans(),
)
_SQLITE = st.builds(
    SqliteHabits, layout=st.integers(1, 4), index=st.booleans(), log=st.sampled_from(["", "wal", "wal without shm"])
)
_ROSBAG1 = st.builds(
    Rosbag1Habits, compression=st.sampled_from([None, "BZ2", "LZ4"]), chunk_size=st.sampled_from([1, 300, 2**20])
)
_METADATA = st.builds(
    MetadataHabits,
    version=st.integers(1, 9),
    qos=st.sampled_from(["", _QOS, "- {"]),
    storage=st.booleans(),
    topics=st.sampled_from(["right", "short types", "too few", "none"]),
    names=st.sampled_from(["right", "with folder", "other"]),
)
_FOLDERS = ["", "drive", "drive.bag", "drive.mcap", "drive.db3", "50% #1?"]


@st.composite
def whole_bags(draw: st.DrawFn) -> Habits:
    """Any whole bag."""
    storage = draw(st.one_of(_MCAP, _SQLITE, _ROSBAG1))
    folder = draw(st.sampled_from(_FOLDERS))
    return Habits(
        storage=storage,
        count=draw(st.integers(1, 6)),
        parts=draw(st.integers(1, 3)) if folder else 1,
        set_back=draw(st.integers(0, 8)),
        typename=draw(st.sampled_from([IMAGE, "sensor_msgs/Image"])),
        definition=draw(st.sampled_from(["whole", "short", "empty", "unknown"])),
        others=tuple(draw(st.sets(st.sampled_from(["unknown", "json", "no schema"])))),
        folder=folder,
        metadata=draw(st.none() | _METADATA) if folder and not isinstance(storage, Rosbag1Habits) else None,
        twin=draw(st.sampled_from(["", "packed", "packed in part", "unpacked in part"])) if folder else "",
    )


def picture(index: int) -> np.ndarray:
    """uint8 [4, 4, 3], another one for each index."""
    return np.random.default_rng(index).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def stamp_ns(habits: Habits, index: int) -> int:
    return START_NS + index * STEP_NS - (index > habits.set_back) * 2_000_000_000


def write_bag(place: Path, habits: Habits) -> Path:
    """Write the bag into the empty folder ``place``; returns its path."""
    ending = {McapHabits: "mcap", SqliteHabits: "db3", Rosbag1Habits: "bag"}[type(habits.storage)]
    folder = place / habits.folder
    folder.mkdir(exist_ok=True)
    files = [folder / f"drive_{part}.{ending}" for part in range(habits.parts)]
    for file, indices in zip(files, np.array_split(np.arange(habits.count), habits.parts), strict=True):
        _WRITERS[type(habits.storage)](file, habits, [int(index) for index in indices])
    if habits.metadata is not None:
        _write_metadata(folder, habits, files, ending)
    for file in files:
        _write_twin(file, habits.twin)
    return folder if habits.folder else files[0]


def _message(store: Any, habits: Habits, index: int) -> bytes:
    seconds, nanoseconds = divmod(stamp_ns(habits, index), 1_000_000_000)
    header = store.types["std_msgs/msg/Header"]
    stamp = store.types["builtin_interfaces/msg/Time"](seconds, nanoseconds)
    made = header(index, stamp, "front") if store is ROS1 else header(stamp, "front")
    message = store.types[IMAGE](made, SIDE, SIDE, "rgb8", 0, SIDE * 3, picture(index).reshape(-1))
    return bytes(store.serialize_ros1(message, IMAGE) if store is ROS1 else store.serialize_cdr(message, IMAGE))


def _definition(habits: Habits) -> tuple[str, str]:
    """(language, text) of the definition of the images."""
    whole = ROS2.generate_msgdef(IMAGE, ros_version=2)[0]
    text = {"whole": whole, "short": _SHORT2, "empty": "", "unknown": "\x00 what?"}[habits.definition]
    return ("unknown" if habits.definition == "unknown" else "ros2msg"), text


class _LeavingOut(ChunkBuilder):
    """Leaves messages of a channel out of the message index.

    Args:
        channel: which.
        which: all or every second.
    """

    def __init__(self, channel: int, which: str) -> None:
        super().__init__()
        self._channel, self._which = channel, which

    def add_message(self, message: Message) -> None:
        super().add_message(message)
        if message.channel_id != self._channel:
            return
        if self._which == "all":
            del self.message_indices[self._channel]
        elif self._which and message.sequence % 2:
            self.message_indices[self._channel].records.pop()


def _write_mcap(path: Path, habits: Habits, indices: Sequence[int]) -> None:
    own = habits.storage
    assert isinstance(own, McapHabits)
    with path.open("wb") as stream:
        writer = McapWriter(
            stream,
            chunk_size=own.chunk_size,
            compression=own.compression,
            index_types=own.index,
            repeat_channels=own.repeat_channels,
            repeat_schemas=own.repeat_schemas,
            use_chunking=own.chunks,
            use_statistics=own.statistics,
            use_summary_offsets=own.summary_offsets,
            enable_crcs=own.checksums,
            enable_data_crcs=own.checksums,
        )
        if own.chunks:
            # The first channel is that of the images.
            writer._Writer__chunk_builder = _LeavingOut(1, own.unindexed)  # type: ignore[attr-defined]
        writer.start(own.profile, "a writer")
        language, text = _definition(habits)
        images = writer.register_channel(
            TOPIC,
            "cdr",
            writer.register_schema(habits.typename, language, text.encode()),
            {"offered_qos_profiles": "- {"},
        )
        schemas = {
            "unknown": lambda: writer.register_schema(STEERING, "unknown", b""),
            "json": lambda: writer.register_schema("own.Steering", "jsonschema", b"{}"),
            "no schema": lambda: 0,
        }
        encodings = {"unknown": "cdr", "json": "json", "no schema": "x-bytes"}
        others = [writer.register_channel(f"/{name}", encodings[name], schemas[name]()) for name in habits.others]
        for index in indices:
            at = stamp_ns(habits, index)
            for channel in others:
                writer.add_message(channel, at, b"\0\1\0\0" + bytes(8), at)
            writer.add_message(images, at, _message(ROS2, habits, index), at, sequence=index)
            if own.attachment:
                writer.add_metadata("note", {"index": str(index)})
                writer.add_attachment(at, at, "note", "text/plain", b"x")
        writer.finish()


def _write_sqlite(path: Path, habits: Habits, indices: Sequence[int]) -> None:
    own = habits.storage
    assert isinstance(own, SqliteHabits)
    if not own.log:
        _fill_sqlite(path, habits, own, indices)
        return
    written = path.with_name(f"{path.name}.written")
    keep = _fill_sqlite(written, habits, own, indices)
    # What a killed recorder leaves is what lies there while the connection is open.
    for ending in ("", "-wal", "-shm")[: 2 if "without" in own.log else 3]:
        shutil.copyfile(f"{written}{ending}", f"{path}{ending}")
    assert keep is not None
    keep.close()
    written.unlink()


def _fill_sqlite(path: Path, habits: Habits, own: SqliteHabits, indices: Sequence[int]) -> sqlite3.Connection | None:
    columns = [
        "id INTEGER PRIMARY KEY",
        "name TEXT NOT NULL",
        "type TEXT NOT NULL",
        "serialization_format TEXT NOT NULL",
    ]
    columns += ["offered_qos_profiles TEXT NOT NULL"] if own.layout >= 2 else []
    columns += ["type_description_hash TEXT NOT NULL"] if own.layout >= 4 else []
    database = sqlite3.connect(path)
    if own.log:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA wal_autocheckpoint = 0")
    database.execute(f"CREATE TABLE topics({', '.join(columns)})")
    fields = "id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL, data BLOB NOT NULL"
    database.execute(f"CREATE TABLE messages({fields})")
    if own.index:
        database.execute("CREATE INDEX timestamp_idx ON messages (timestamp ASC)")
    more = ["- {", ""][: len(columns) - 4]
    others = [name for name in habits.others if name != "no schema"]
    rows = [(1, TOPIC, habits.typename, "cdr", *more)]
    rows += [(2 + i, f"/{n}", STEERING, {"json": "json"}.get(n, "cdr"), *more) for i, n in enumerate(others)]
    database.executemany(f"INSERT INTO topics VALUES({', '.join('?' * len(columns))})", rows)
    if own.layout >= 3:
        database.execute("CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL)")
        database.execute("INSERT INTO schema VALUES(?, 'jazzy')", (own.layout,))
    if own.layout >= 4:
        table = "id INTEGER PRIMARY KEY, topic_type TEXT, encoding TEXT, encoded_message_definition TEXT"
        database.execute(f"CREATE TABLE message_definitions({table}, type_description_hash TEXT)")
        definitions = [(habits.typename, *_definition(habits)), (STEERING, "unknown", "")]
        database.executemany("INSERT INTO message_definitions VALUES(NULL, ?, ?, ?, '')", definitions)
    for index in indices:
        at = stamp_ns(habits, index)
        messages = [(2 + i, at, b"\0\1\0\0" + bytes(8)) for i in range(len(others))]
        messages.append((1, at, _message(ROS2, habits, index)))
        database.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)", messages)
    database.commit()
    if own.log:
        return database
    database.close()
    return None


def _write_rosbag1(path: Path, habits: Habits, indices: Sequence[int]) -> None:
    own = habits.storage
    assert isinstance(own, Rosbag1Habits)
    writer = Rosbag1Writer(path)
    writer.chunk_threshold = own.chunk_size
    if own.compression:
        writer.set_compression(Rosbag1Writer.CompressionFormat[own.compression])
    whole = ROS1.generate_msgdef(IMAGE)[0]
    text = {"whole": whole, "short": _SHORT1, "empty": "\n", "unknown": "\x00 what?"}[habits.definition]
    with writer:
        images = writer.add_connection(TOPIC, IMAGE, msgdef=text, md5sum=_MD5)
        others = [writer.add_connection(f"/{n}", STEERING, msgdef="float64 a\n", md5sum="*") for n in habits.others]
        for index in indices:
            for other in others:
                writer.write(other, stamp_ns(habits, index), bytes(8))
            writer.write(images, stamp_ns(habits, index), _message(ROS1, habits, index))


_WRITERS: dict[type, Any] = {McapHabits: _write_mcap, SqliteHabits: _write_sqlite, Rosbag1Habits: _write_rosbag1}


def _write_metadata(folder: Path, habits: Habits, files: Sequence[Path], ending: str) -> None:
    own = habits.metadata
    assert own is not None
    name = "sensor_msgs/Image" if own.topics == "short types" else IMAGE
    metadata = {"name": TOPIC, "type": name, "serialization_format": "cdr"}
    metadata |= {"offered_qos_profiles": own.qos} if own.version >= 4 else {}
    count = habits.count - 1 if own.topics == "too few" else habits.count
    topics = [{"topic_metadata": metadata, "message_count": count}] if own.topics != "none" else []
    prefix = {"right": "", "with folder": "drive/", "other": "renamed_since_"}[own.names]
    storage = {"mcap": "mcap", "db3": "sqlite3"}[ending] if own.storage else ""
    information = {
        "version": own.version,
        "storage_identifier": storage,
        "relative_file_paths": [prefix + file.name for file in files],
        "duration": {"nanoseconds": 0},
        "starting_time": {"nanoseconds_since_epoch": START_NS},
        "message_count": count,
        "topics_with_message_count": topics,
    }
    if own.version >= 3:
        information |= {"compression_format": "", "compression_mode": ""}
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}))


def _write_twin(file: Path, twin: str) -> None:
    """The same file once more: packed, as a player or a recorder that was stopped leaves the two."""
    if not twin or file.with_name(f"{file.name}-wal").exists():
        return
    packed = zstandard.compress(file.read_bytes())
    file.with_name(f"{file.name}.zstd").write_bytes(packed[: len(packed) // 2] if twin == "packed in part" else packed)
    if twin == "unpacked in part":
        os.truncate(file, file.stat().st_size // 2)

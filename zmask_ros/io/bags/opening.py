"""Find and open the storage files of a bag: rosbag2 (mcap, sqlite3) and ROS 1, whole or damaged."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard
from rosbags.rosbag1 import Reader as Rosbag1Reader
from rosbags.rosbag2 import Reader as Rosbag2Reader

from zmask_ros.io.bags.recording import BagError, MessageTypes, RawMessage, Recording, Scan, TopicInfo
from zmask_ros.io.bags.recovery import McapScan, SqliteScan, write_ahead_log
from zmask_ros.io.bags.recovery_ros1 import Rosbag1Scan

_SCANS: dict[str, type[Scan]] = {".mcap": McapScan, ".db3": SqliteScan, ".bag": Rosbag1Scan}
_KINDS = "a rosbag2 directory, an .mcap, a .db3 or a ROS 1 .bag file"


class IndexedRecording(Recording):
    """A file (or a rosbag2 directory) whose index is whole, read by `rosbags`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        is_ros1 = path.suffix == ".bag"
        self._reader: Any = Rosbag1Reader(path) if is_ros1 else Rosbag2Reader(path)
        self._reader.open()
        self.types = MessageTypes("ros1" if is_ros1 else "cdr")
        for connection in self._reader.connections:
            self.types.add(connection.msgtype, connection.msgdef)
            self.topics.append(TopicInfo(connection.topic, connection.msgtype, connection.msgcount))

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """The messages of ``topics``; one that cannot be read sets `damage` and ends."""
        connections = [one for one in self._reader.connections if one.topic in topics]
        if not connections:
            return
        try:
            for connection, received_ns, data in self._reader.messages(connections):
                yield RawMessage(connection.topic, connection.msgtype, received_ns, data)
        # The parsers below raise anything from struct.error to zstd's own when bytes are not what the index says.
        except Exception as error:
            self.damage = f"it is damaged in the middle and was read up to there ({error})"

    def close(self) -> None:
        """Give the file back."""
        self._reader.close()


@dataclass
class Bag:
    """One bag as the user named it, and its files in the order in which they were recorded."""

    path: Path
    recordings: list[Recording]
    _resources: ExitStack

    def topics(self) -> list[TopicInfo]:
        """The topics of all files, by name, with their messages counted over all of them."""
        topics = merged_topics(topic for recording in self.recordings for topic in recording.topics)
        return sorted(topics, key=lambda topic: (topic.name, topic.msgtype))

    def close(self) -> None:
        """Give the files back."""
        self._resources.close()


def merged_topics(topics: Iterable[TopicInfo]) -> list[TopicInfo]:
    """Each topic once, with the messages of all its appearances."""
    counts: Counter[tuple[str, str]] = Counter()
    for topic in topics:
        counts[topic.name, topic.msgtype] += topic.count
    return [TopicInfo(name, msgtype, count) for (name, msgtype), count in counts.items()]


def open_bag(path: Path) -> Bag:
    """Open a bag, also one that is damaged or unfinished.

    Raises:
        BagError: no such path, not a bag, or nothing in it can be read.
    """
    if not path.exists():
        raise BagError(f"There is no bag at {path}.")
    with ExitStack() as stack:
        recordings = _open_directory(path, stack) if path.is_dir() else [_open_file(path, stack)]
        return Bag(path, recordings, stack.pop_all())


def _open_directory(path: Path, stack: ExitStack) -> list[Recording]:
    """By its metadata.yaml where that is whole, else file by file, as after a power cut."""
    refusal = ""
    if (path / "metadata.yaml").is_file() and not any(map(write_ahead_log, path.glob("*.db3"))):
        try:
            return [stack.enter_context(closing(IndexedRecording(path)))]
        # See `messages`: there is no common class of what a damaged bag raises.
        except Exception as error:
            refusal = f"the bag is not whole ({error})"
    return _open_files(path, refusal, stack)


def _open_files(path: Path, refusal: str, stack: ExitStack) -> list[Recording]:
    endings = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
    files = sorted((file for file in path.iterdir() if file.name.endswith(endings)), key=_recording_order)
    if not files:
        raise BagError(f"{path} is not a bag: expected {_KINDS}.")
    recordings: list[Recording] = []
    for file in files:
        try:
            recordings.append(_open_file(file, stack))
        except BagError as error:
            refusal = refusal or str(error).rstrip(".")
    if not recordings:
        raise BagError(f"Nothing can be read of the bag {path}: {refusal}.")
    recordings[0].damage = recordings[0].damage or refusal
    return recordings


def _open_file(path: Path, stack: ExitStack) -> Recording:
    if path.suffix == ".zstd":
        return _open_file(_unpacked(path, stack), stack)
    if path.suffix not in _SCANS:
        raise BagError(f"{path} is not a bag: expected {_KINDS}.")
    if not path.stat().st_size:
        raise BagError(f"{path} is empty: it has 0 bytes.")
    if write_ahead_log(path):
        return stack.enter_context(closing(SqliteScan(path)))
    try:
        return stack.enter_context(closing(IndexedRecording(path)))
    except PermissionError as error:
        raise BagError(f"{path} may not be read: {error.strerror}.") from error
    # See `IndexedRecording.messages`.
    except Exception:
        return stack.enter_context(closing(_SCANS[path.suffix](path)))


def _unpacked(path: Path, stack: ExitStack) -> Path:
    """The storage file inside of a ``.zstd`` one, as much of it as there is."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="zmask-bag-"))
    unpacked = Path(folder) / path.stem
    with path.open("rb") as source, unpacked.open("wb") as target:
        try:
            zstandard.ZstdDecompressor().copy_stream(source, target)
        except zstandard.ZstdError as error:
            if not target.tell():
                raise BagError(f"{path} is not a zstd file ({error}).") from error
    return unpacked


def _recording_order(path: Path) -> list[tuple[int, str]]:
    """``drive_2.mcap`` before ``drive_10.mcap``."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path.name)]

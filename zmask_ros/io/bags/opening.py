"""Find and open the storage files of a bag: rosbag2 (mcap, sqlite3) and ROS 1, whole or damaged."""

from __future__ import annotations

import bz2
import gzip
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lz4.frame  # type: ignore[import-untyped]
import zstandard

from zmask_ros.io.bags.mcap_recording import McapRecording
from zmask_ros.io.bags.metadata import BagMetadata, read_metadata
from zmask_ros.io.bags.raw_messages import BagError, TopicInfo, merged_topics
from zmask_ros.io.bags.recording import Recording
from zmask_ros.io.bags.rosbag1_recording import Rosbag1Recording
from zmask_ros.io.bags.sqlite_recording import SqliteRecording
from zmask_ros.io.bags.storage_files import COMPRESSED, METADATA, is_storage_file, storage_ending, storage_stem

_READERS: dict[str, type[Recording]] = {"mcap": McapRecording, "db3": SqliteRecording, "bag": Rosbag1Recording}


def _open_zstd(path: Path) -> Any:
    return zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True, closefd=True)


_UNPACKED: dict[str, Callable[[Path], Any]] = {
    ".zstd": _open_zstd,
    ".zst": _open_zstd,
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".lz4": lz4.frame.open,
}
assert set(_UNPACKED) == set(COMPRESSED)
_NAMED = 5
_KINDS = "a rosbag2 directory, an .mcap, a .db3 or a ROS 1 .bag file"


@dataclass
class Bag:
    """One bag as the user named it.

    Attributes:
        path: the file or the folder.
        recordings: its files in the order in which they were recorded.
        metadata: what its metadata.yaml says; None where there is none that can be understood.
        notes: sentences on what is wrong with the bag as a whole.
    """

    path: Path
    recordings: list[Recording]
    metadata: BagMetadata | None = None
    notes: list[str] = field(default_factory=list)
    _resources: ExitStack = field(default_factory=ExitStack)

    def topics(self) -> list[TopicInfo]:
        """The topics of all files, by name, with their messages counted over all of them."""
        topics = merged_topics(topic for recording in self.recordings for topic in recording.topics)
        return sorted(topics, key=lambda topic: (topic.name, topic.msgtype))

    def missing(self, topic: str, found: int) -> str:
        """What metadata.yaml counts on a topic beyond the messages that were found; empty if it is not more."""
        counted = self.metadata.counts.get(topic, 0) if self.metadata else 0
        if found >= counted:
            return ""
        return f"its metadata.yaml counts {counted} messages on {topic}, of which {counted - found} are not there"

    def missing_of_no_topic(self) -> str:
        """What metadata.yaml counts beyond what is there, if it does not say of which topics; else empty."""
        total = self.metadata.total if self.metadata else 0
        found = sum(topic.count for topic in self.topics())
        if self.metadata is None or found >= total or sum(self.metadata.counts.values()) >= total:
            return ""
        return f"its metadata.yaml counts {total} messages, of which {total - found} are not there"

    def close(self) -> None:
        """Give the files back."""
        self._resources.close()


def open_bag(path: Path) -> Bag:
    """Open a bag, also one that is damaged or unfinished.

    Raises:
        BagError: no such path, not a bag, or nothing in it can be read.
    """
    if not path.exists():
        raise BagError(f"There is no bag at {path}.")
    with ExitStack() as stack:
        bag = _open_folder(path, stack) if path.is_dir() else Bag(path, [_open_file(path, stack)])
        bag._resources = stack.pop_all()
        return bag


def _open_folder(path: Path, stack: ExitStack) -> Bag:
    """Its files as metadata.yaml orders them; all there are where it is missing or wrong, as after a power cut."""
    metadata, notes = None, []
    if (path / METADATA).is_file():
        try:
            metadata = read_metadata(path / METADATA)
        except BagError as error:
            notes.append(f"the bag is not whole: {str(error).rstrip('.')}")
    chosen, passed_over = _storage_files(path, metadata)
    if not chosen and metadata is not None:
        raise BagError(
            f"The bag {path} has no messages: {'; '.join(_lost_files(path, metadata)) or 'it has no files'}."
        )
    if not chosen:
        inner = _bags_in(path)
        there = f", but has bags in it: {', '.join(inner)}; name one of them" if inner else f": expected {_KINDS}"
        raise BagError(f"{path} is not a bag{there}.")
    bag, refusals = Bag(path, [], metadata), []
    for twins in chosen:
        try:
            bag.recordings.append(_open_best(twins, stack))
        except BagError as error:
            refusals.append(str(error).rstrip("."))
    if not bag.recordings:
        raise BagError(f"Nothing can be read of the bag {path}: {refusals[0]}.")
    strangers = [f"{file.name} is not named in its metadata.yaml and was not read" for file in passed_over]
    bag.notes = [*notes, *refusals, *strangers, *filter(None, [bag.missing_of_no_topic()])]
    if metadata is not None and _is_incomplete(bag, metadata, len(chosen)):
        bag.notes += _lost_files(path, metadata)
    return bag


def _bags_in(folder: Path) -> list[str]:
    """The names of the folders in a folder that are bags; a few of them."""
    found: list[str] = []
    for inner in sorted(folder.iterdir(), key=_recording_order):
        # What is no folder, or may not be read.
        with suppress(OSError):
            if any(is_storage_file(file.name) for file in inner.iterdir()):
                found.append(inner.name)
    return [*found[:_NAMED], *(["..."] if len(found) > _NAMED else [])]


def _is_incomplete(bag: Bag, metadata: BagMetadata, files: int) -> bool:
    """Whether files are missing, and were not only given other names."""
    return files < len(metadata.files) or any(bag.missing(name, _found(bag, name)) for name in metadata.counts)


def _found(bag: Bag, topic: str) -> int:
    return sum(info.count for info in bag.topics() if info.name == topic)


def _lost_files(folder: Path, metadata: BagMetadata) -> list[str]:
    there = {file.name for file in folder.iterdir()}
    there |= {storage_stem(name) for name in there}
    lost = [name for name in metadata.files if name not in there and storage_stem(name) not in there]
    return [f"{name}, which its metadata.yaml names, is not there" for name in lost]


def _storage_files(folder: Path, metadata: BagMetadata | None) -> tuple[list[list[Path]], list[Path]]:
    """The storage files of a folder in their order, and those that do not belong to the bag.

    Files that hold the same messages, such as one beside its compressed twin, are together, the likeliest first.
    """
    named = metadata.files if metadata else ()
    groups: dict[str, list[Path]] = {}
    # Also a link to a file that is not there, such as one that a version control has not fetched.
    there = [file for file in folder.iterdir() if file.is_file() or not file.exists()]
    files = [file for file in there if is_storage_file(file.name) or file.name in named]
    for file in sorted(files, key=_recording_order):
        groups.setdefault(storage_stem(file.name) or file.name, []).append(file)
    for twins in groups.values():
        twins.sort(key=lambda file: (file.name not in named, file.suffix.lower() in _UNPACKED, ".orig." in file.name))
    stems = [storage_stem(name) or name for name in named]
    # Without a list, or with one of files that have other names by now, whatever is there is the bag.
    if not stems or any(stem not in groups for stem in stems):
        return list(groups.values()), []
    series = {re.sub(r"\d+$", "", stem) for stem in stems if stem[-1].isdigit()}
    others = [stem for stem in groups if stem not in stems]
    # A recorder that did not get to write metadata.yaml anew.
    later = [stem for stem in others if stem[-1].isdigit() and re.sub(r"\d+$", "", stem) in series]
    strangers = [file for stem in others if stem not in later for file in groups[stem]]
    return [groups[stem] for stem in (*dict.fromkeys(stems), *later)], strangers


def _open_best(twins: Sequence[Path], stack: ExitStack) -> Recording:
    """The first of several files of the same messages that is whole, else the one with the most of them."""
    opened: list[Recording] = []
    refusal: BagError | None = None
    for file in twins:
        try:
            recording = _open_file(file, stack)
        except BagError as error:
            refusal = refusal or error
            continue
        if not recording.damage:
            return recording
        opened.append(recording)
    if not opened:
        raise refusal or BagError("There is nothing to open.")
    return max(opened, key=lambda recording: sum(topic.count for topic in recording.topics))


def _open_file(path: Path, stack: ExitStack) -> Recording:
    if path.suffix.lower() in _UNPACKED:
        unpacked = _unpacked(path, stack)
        try:
            recording = _open_file(unpacked, stack)
        except BagError as error:
            raise BagError(str(error).replace(str(unpacked), str(path))) from error
        recording.compression = " in ".join(filter(None, [recording.compression, f"a {path.suffix[1:]} file"]))
        return recording
    try:
        ending = storage_ending(path)
        if ending and not path.stat().st_size:
            raise BagError(f"{path} is empty: it has 0 bytes.")
        if not ending:
            raise BagError(f"{path} is not a bag: expected {_KINDS}.")
        return stack.enter_context(closing(_READERS[ending](path)))
    except OSError as error:
        raise BagError(f"{path} may not be read: {error.strerror}.") from error


def _unpacked(path: Path, stack: ExitStack) -> Path:
    """The storage file inside of a compressed one, as much of it as there is."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="zmask-bag-"))
    unpacked = Path(folder) / path.stem
    with unpacked.open("wb") as target:
        try:
            with _UNPACKED[path.suffix.lower()](path) as source:
                shutil.copyfileobj(source, target)
        except PermissionError as error:
            raise BagError(f"{path} may not be read: {error.strerror}.") from error
        # The decompressors have no common class for bytes that make no sense, or of which there are too few.
        except (OSError, EOFError, RuntimeError, zstandard.ZstdError) as error:
            if not target.tell():
                raise BagError(f"{path} cannot be unpacked ({error}).") from error
    return unpacked


def _recording_order(path: Path) -> list[tuple[int, str]]:
    """``drive_2.mcap`` before ``drive_10.mcap``."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path.name)]

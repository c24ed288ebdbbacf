"""What is in a bag, as `zmask inspect` tells it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from zmask_ros.io.bags.image_messages import is_readable, why_unread
from zmask_ros.io.bags.metadata import BagMetadata
from zmask_ros.io.bags.opening import open_bag
from zmask_ros.io.bags.raw_messages import BagError
from zmask_ros.io.bags.reader import CameraBags, ReadReport
from zmask_ros.io.bags.recording import Recording


@dataclass(frozen=True)
class FileContents:
    """One storage file.

    Attributes:
        name: of the file.
        format: mcap, sqlite3, or ROS 1 bag.
        profile, writer: what it says of its use and of the program that wrote it; empty where it says nothing.
        compression: of its parts; empty without.
        has_index: whether messages are found by an index; otherwise the file is read from its beginning.
        messages: how many are in it.
    """

    name: str
    format: str
    profile: str
    writer: str
    compression: str
    has_index: bool
    messages: int


@dataclass(frozen=True)
class TopicContents:
    """One topic, its type, serialization and number of messages, and whether it has images that can be read."""

    topic: str
    type: str
    serialization: str
    messages: int
    is_read: bool


@dataclass(frozen=True)
class BagContents:
    """A bag without its messages.

    Attributes:
        files: in the order of recording.
        metadata: what its metadata.yaml says; None where there is none.
        topics: all of them, by name.
        unread: a sentence on each topic with a camera's pictures that cannot be read.
        damage: a sentence on each thing that is missing or damaged, as far as it shows without reading the messages.
    """

    files: tuple[FileContents, ...]
    metadata: BagMetadata | None
    topics: tuple[TopicContents, ...]
    unread: tuple[str, ...]
    damage: tuple[str, ...]


def bag_contents(path: Path) -> BagContents:
    """Look into a bag.

    Raises:
        BagError: there is no bag, or nothing in it can be read.
    """
    with closing(open_bag(path)) as bag:
        topics = bag.topics()
        counts: dict[str, int] = dict.fromkeys(bag.metadata.counts, 0) if bag.metadata else {}
        for topic in topics:
            counts[topic.name] = counts.get(topic.name, 0) + topic.count
        damage = [
            *bag.notes,
            *(f"{recording.path.name}: {recording.damage}" for recording in bag.recordings if recording.damage),
            *(sentence for name, count in counts.items() if (sentence := bag.missing(name, count))),
        ]
        return BagContents(
            tuple(_file(recording) for recording in bag.recordings),
            bag.metadata,
            tuple(TopicContents(t.name, t.msgtype, t.encoding, t.count, is_readable(t)) for t in topics),
            tuple(sentence for topic in topics if (sentence := why_unread(topic))),
            tuple(damage),
        )


def why_unseen(path: Path, topic: str) -> str:
    """Why not one frame of an image topic can be decoded; empty where one can, after which no other is tried."""
    with CameraBags(path, topic) as bags:
        try:
            next(bags.frames(ReadReport()))
        except BagError as error:
            return str(error)
    return ""


def _file(recording: Recording) -> FileContents:
    messages = sum(topic.count for topic in recording.topics)
    return FileContents(
        recording.path.name,
        recording.format,
        recording.profile,
        recording.writer,
        recording.compression,
        recording.index,
        messages,
    )

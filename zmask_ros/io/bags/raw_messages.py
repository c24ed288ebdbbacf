"""Messages and topics as they lie in a bag, and the one error of everything that reads or writes bags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from zmask_ros.errors import ZmaskError


class BagError(ZmaskError):
    """A bag that is not there, not readable, empty or without the topic that was asked for."""


class BagWarning(UserWarning):
    """A bag of which something could not be read; where the reader's own report is looked at, none is given."""


@dataclass(frozen=True)
class TopicInfo:
    """One topic of one or several bags.

    Attributes:
        name: such as `/front/image_raw`.
        msgtype: such as `sensor_msgs/msg/Image`.
        count: of its messages.
        encoding: how they are serialized: `cdr`, `ros1`, or what is not read.
    """

    name: str
    msgtype: str
    count: int
    encoding: str = "cdr"


@dataclass(frozen=True)
class RawMessage:
    """One message as it lies in the file; fields as in `TopicInfo`."""

    topic: str
    msgtype: str
    received_ns: int
    data: bytes | memoryview
    encoding: str = "cdr"


def part_of_chunk(chunk: bytes | memoryview, begin: int, end: int) -> bytes | memoryview:
    """A message in a chunk: without a copy where it is a third of it at least, since who keeps it keeps the chunk."""
    part = memoryview(chunk)[begin:end]
    return part if 3 * len(part) > len(chunk) else bytes(part)


def merged_topics(topics: Iterable[TopicInfo]) -> list[TopicInfo]:
    """Each topic once, with the messages of all its appearances."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for topic in topics:
        counts[topic.name, topic.msgtype, topic.encoding] += topic.count
    return [TopicInfo(name, msgtype, count, encoding) for (name, msgtype, encoding), count in counts.items()]

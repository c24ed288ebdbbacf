"""One storage file of a bag as all readers present it: its topics, its raw messages, and what is wrong with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from zmask_ros.io.bags.message_types import MessageTypes
from zmask_ros.io.bags.offered_qos import OfferedQos
from zmask_ros.io.bags.raw_messages import RawMessage, TopicInfo


class Recording(ABC):
    """One opened storage file.

    Attributes:
        path: the file.
        format: of the file, as `zmask inspect` names it.
        profile, writer: what the file says of its use and of the program that wrote it; empty where it says nothing.
        compression: of its parts, such as `zstd`; empty without.
        index: whether messages are found by an index, and not by reading the file from its beginning.
        topics: what it holds.
        offered: the quality of service that the recorded publishers of each topic offered, where the file says it.
        types: how its messages are read.
        damage: empty, or what is wrong with the file; may be found out while reading.
    """

    format = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.profile = ""
        self.writer = ""
        self.compression = ""
        self.index = False
        self.topics: list[TopicInfo] = []
        self.offered: dict[str, OfferedQos] = {}
        self.types = MessageTypes()
        self.damage = ""
        self._found_wrong = ""

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """The messages of ``topics``: by the index in the order of their reception, else in the order of the file.

        Where the index gives fewer than the file counts, the rest is looked for from the beginning of the file; of what
        is missing even then, `damage` tells the number.
        """
        counted = sum(topic.count for topic in self.topics if topic.name in topics)
        if not counted:
            return
        handed: Counter[tuple[str, int]] = Counter()
        trouble = ""
        # The parsers of damaged bytes raise exceptions of no common class.
        try:
            for message in self._indexed(topics) if self.index else self._scan(topics):
                handed[message.topic, message.received_ns] += 1
                yield message
        except Exception as error:
            trouble = str(error)
        read = handed.total()
        if self.index and read < counted:
            # The disk may be gone.
            try:
                for message in self._remaining(topics, handed):
                    read += 1
                    yield message
            except OSError as error:
                trouble = str(error)
        self._compare(topics, read, counted, trouble)

    def _remaining(self, topics: Collection[str], handed: Counter[tuple[str, int]]) -> Iterator[RawMessage]:
        for message in self._scan(topics):
            key = message.topic, message.received_ns
            if handed[key]:
                handed[key] -= 1
            else:
                yield message

    def _compare(self, topics: Collection[str], read: int, counted: int, trouble: str) -> None:
        """Say what is missing; where nothing is, a part that is damaged held nothing of these topics."""
        reason = self._found_wrong or trouble
        if read < counted:
            names = ", ".join(sorted({topic.name for topic in self.topics if topic.name in topics}))
            because = f": {reason}" if reason else ""
            self.damage = f"{counted - read} of {counted} messages on {names} are missing in {self.path.name}{because}"

    @abstractmethod
    def _indexed(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """The messages of ``topics`` in the order of their reception."""

    @abstractmethod
    def _scan(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """The messages of ``topics`` in the order of the file, also of a damaged one; sets `_found_wrong`."""

    @abstractmethod
    def close(self) -> None:
        """Give the file back."""


def another_begins(at: int) -> str:
    """What is said of a second file of the same kind in the same file, which begins at this byte."""
    return f"behind its end, at byte {at}, another file begins that was not read"

"""A bag as it is played: which of its topics, in which order, and when."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import zstandard

from zmask_ros.io.bags.message_types import uncompressed
from zmask_ros.io.bags.offered_qos import OfferedQos
from zmask_ros.io.bags.opening import open_bag
from zmask_ros.io.bags.raw_messages import BagError, RawMessage, TopicInfo
from zmask_ros.io.stamps import NANOSECONDS

PLAYED_ENCODING = "cdr"


class PlayedTime:
    """The time of the recording, which goes on from its start at a multiple of the speed of the steady clock.

    Args:
        start_ns: of the recording.
        rate: how many times as fast it is played.
        steady_ns: the steady clock.
    """

    def __init__(self, start_ns: int, rate: float, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._start_ns = start_ns
        self._rate = rate
        self._steady_ns = steady_ns
        self._began_ns = steady_ns()

    @property
    def now_ns(self) -> int:
        """The time of the recording now."""
        return self._start_ns + round((self._steady_ns() - self._began_ns) * self._rate)

    def seconds_until(self, time_ns: int) -> float:
        """Seconds of the steady clock until that time of the recording; below 0 where it is over."""
        due_ns = self._began_ns + round((time_ns - self._start_ns) / self._rate)
        return (due_ns - self._steady_ns()) / NANOSECONDS


class Playback:
    """An open bag of which some topics are played.

    Args:
        path: of the bag.
        topics: to play; all where none is named.
        exclude: regular expressions; topics whose whole name fits one are left out.

    Attributes:
        topics: what is played.
        passed_over: one sentence for each topic that was asked for and cannot be played.
        start_ns: when the first message of the bag was received, whether it is played or not.

    Raises:
        BagError: no such bag, nothing in it that can be read, no such topic, or none that can be played.
    """

    def __init__(self, path: Path, topics: Collection[str] = (), exclude: Collection[str] = ()) -> None:
        excluded = [_expression(one) for one in exclude]
        self._broken = 0
        self._bag = open_bag(path)
        try:
            there = {topic.name for topic in self._bag.topics()}
            if missing := sorted({*topics} - there):
                raise BagError(f"The bag {path} has no topic {missing[0]}; it has {', '.join(sorted(there))}.")
            chosen = [
                topic
                for topic in self._bag.topics()
                if (not topics or topic.name in topics) and not any(one.fullmatch(topic.name) for one in excluded)
            ]
            self.topics = [topic for topic in chosen if topic.encoding == PLAYED_ENCODING and topic.msgtype]
            self.passed_over = [
                f"{topic.name} is serialized as {topic.encoding!r}, and is not played"
                for topic in chosen
                if topic not in self.topics
            ]
            if not sum(topic.count for topic in self.topics):
                reasons = "; ".join(self.passed_over) or "it has no messages on the topics that were asked for"
                raise BagError(f"Nothing of the bag {path} can be played: {reasons}.")
            self.start_ns = self._first_ns(there)
        except BaseException:
            self._bag.close()
            raise

    def close(self) -> None:
        """Give the files back."""
        self._bag.close()

    @property
    def count(self) -> int:
        """How many messages are played."""
        return sum(topic.count for topic in self.topics)

    @property
    def damage(self) -> list[str]:
        """One sentence on each thing that is wrong with the bag; may be found out while reading."""
        found = [*self._bag.notes, *(one.damage for one in self._bag.recordings if one.damage)]
        return [*found, *([f"{self._broken} messages are damaged and were passed over"] if self._broken else [])]

    def offered(self, topic: TopicInfo) -> OfferedQos:
        """The quality of service that its recorded publishers offered, or rosbag2's default where that is not known."""
        told = [self._bag.metadata.offered] if self._bag.metadata is not None else []
        told += [recording.offered for recording in self._bag.recordings]
        return next((offered[topic.name] for offered in told if topic.name in offered), OfferedQos())

    def messages(self) -> Iterator[RawMessage]:
        """The messages in the order of their reception; each file of the bag after the one before."""
        names = {topic.name for topic in self.topics}
        for recording in self._bag.recordings:
            for message in recording.messages(names):
                try:
                    data = uncompressed(message.data)
                except zstandard.ZstdError:
                    self._broken += 1
                    continue
                yield replace(message, data=bytes(data))

    def _first_ns(self, topics: Collection[str]) -> int:
        firsts = [next(recording.messages(topics), None) for recording in self._bag.recordings]
        return min(first.received_ns for first in firsts if first is not None)


def _expression(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise BagError(f"'{text}' is not a regular expression: {error}.") from error

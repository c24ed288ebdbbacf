"""Camera images out of recorded drives: rosbag2 (mcap, sqlite3) and ROS 1 bags, one or several."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from zmask_ros.flags.topics import TRANSPORTS
from zmask_ros.io.bags.camera_info import CameraInfoFields
from zmask_ros.io.bags.image_messages import (
    ImageMessages,
    RecordedCameraInfo,
    StampedMessage,
    is_readable,
    why_unread,
)
from zmask_ros.io.bags.opening import Bag, open_bag
from zmask_ros.io.bags.raw_messages import BagError, BagWarning, TopicInfo, merged_topics
from zmask_ros.io.images.codec import AUTO_BITS, ImageError, decode
from zmask_ros.io.images.remarks import remark
from zmask_ros.io.stamps import NANOSECONDS, stamp_ns, typical_step_ns

__all__ = ["BagError", "CameraBags", "Frame", "ReadReport", "StampedMessage", "TopicInfo", "image_topics"]

CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
# Pictures that the node and `zmask world` write beside a camera's.
_WRITTEN_HERE = re.compile(r"/(zmask|truth)/")
# Enough for a median that one dropped frame does not move.
_RATE_FRAMES = 10


@dataclass
class ReadReport:
    """What became of the messages; filled while they are read.

    Attributes:
        read: handed on.
        broken: could not be deserialized or decoded, and were passed over.
        first_broken: why the first broken message was broken, and which it was.
        truncated: one sentence for each bag that is damaged or cut off.
        remarked: of the decoded images, those of which something has to be said, such as that they are nearly black.
        first_remark: what, of the first of them, and which it was.
    """

    read: int = 0
    broken: int = 0
    first_broken: str = ""
    truncated: list[str] = field(default_factory=list)
    remarked: int = 0
    first_remark: str = ""

    def count_broken(self, bag: Path, topic: str, index: int, reason: object) -> None:
        """Count a message that cannot be read; ``index`` is its place in the bag."""
        self.broken += 1
        self.first_broken = self.first_broken or f"message {index} of {topic} in {bag}: {reason}"

    def count_remark(self, stamped: StampedMessage, said: str) -> None:
        """Count an image of which something has to be said."""
        self.remarked += 1
        self.first_remark = self.first_remark or f"message {stamped.index} of {stamped.topic} in {stamped.bag}: {said}"

    def note(self, bag: Path, damage: str) -> None:
        """Keep what is wrong with a bag, once; nothing where ``damage`` is empty."""
        sentence = f"{bag}: {damage}"
        if damage and sentence not in self.truncated:
            self.truncated.append(sentence)

    def warnings(self) -> list[str]:
        """All that the user has to know of what was not read: one sentence each."""
        broken = f"{self.broken} messages cannot be read and were passed over, the first: {self.first_broken}"
        remarked = f"{self.remarked} images were taken with a remark, the first: {self.first_remark}"
        return [*self.truncated, *([broken] if self.broken else []), *([remarked] if self.remarked else [])]


@dataclass(frozen=True)
class BagPart:
    """The messages of a topic from the place ``first`` in its bag on, before ``end``; None: to the end of the bag."""

    first: int = 0
    end: int | None = None

    def __contains__(self, index: int) -> bool:
        return self.first <= index and not self.ended(index)

    def ended(self, index: int) -> bool:
        """Whether no message from this place on is in it."""
        return self.end is not None and index >= self.end


WHOLE = BagPart()


@dataclass(frozen=True)
class Frame:
    """One camera image: where it came from, its header, and uint8 [H, W, 3] RGB."""

    bag: Path
    topic: str
    index: int
    stamp_ns: int
    received_ns: int
    frame_id: str
    image: np.ndarray


def image_topics(paths: Path | Sequence[Path]) -> list[TopicInfo]:
    """The image topics of one or several bags, with their messages counted over all of them.

    Raises:
        BagError: a bag that is not there or not readable.
    """
    with ExitStack() as stack:
        return _image_topics(_open_all(paths, stack))


class CameraBags:
    """The messages of one image topic in one or several bags, bag after bag.

    Everything that is wrong with the request shows here and not in the middle of a long run.

    Args:
        paths: rosbag2 directories, .mcap, .db3 or .bag files; each is a drive of its own.
        topic: the image topic; None takes the only one there is.
        every: hand on each N-th message of a bag, the first included.
        significant_bits: of 16-bit images, as `zmask_ros.io.images.codec.decode` takes them.

    Attributes:
        bags: number of bags.
        total: number of messages that are handed on.

    Raises:
        BagError: no such bag, not a bag, nothing in it, no such topic (the sentence lists those there are).
    """

    def __init__(
        self,
        paths: Path | Sequence[Path],
        topic: str | None = None,
        every: int = 1,
        significant_bits: int = AUTO_BITS,
    ) -> None:
        if every < 1:
            raise BagError(f"'every' is {every}, but the least is 1: every message.")
        self.every = every
        self._significant_bits = significant_bits
        with ExitStack() as stack:
            self._bags = _open_all(paths, stack)
            self.topic = _chosen_topic(self._bags, topic)
            counts = [_count(bag, self.topic) for bag in self._bags]
            self._resources = stack.pop_all()
        self.bags = len(counts)
        self.total = sum(-(-count // every) for count in counts)

    def __enter__(self) -> CameraBags:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the files back; the object is of no use afterwards."""
        self._resources.close()

    @property
    def topics(self) -> tuple[str, ...]:
        """All image topics of the bags."""
        return tuple(topic.name for topic in _image_topics(self._bags))

    def messages(self, report: ReadReport) -> Iterator[StampedMessage]:
        """The deserialized messages, `report` filled on the way.

        Raises:
            BagError: at the end, if not one message could be read.
        """
        for stamped in self._deserialized(report, [self.topic, camera_info_topic(self.topic)]):
            report.read += 1
            yield stamped
        self._check_read(report)

    def frames(self, report: ReadReport, part: BagPart = WHOLE) -> Iterator[Frame]:
        """The decoded images, or those of a part of each bag, `report` filled on the way.

        Raises:
            BagError: at the end, if all was to be read, and not one image could be.
        """
        for stamped in self._deserialized(report, [self.topic], part):
            try:
                image = decode(stamped.message, self._significant_bits)
            except ImageError as error:
                report.count_broken(stamped.bag, stamped.topic, stamped.index, error)
                continue
            report.read += 1
            if said := remark(stamped.message, image, self._significant_bits):
                report.count_remark(stamped, said)
            header = stamped.message.header
            yield Frame(
                stamped.bag, stamped.topic, stamped.index, stamp_ns(header), stamped.received_ns, header.frame_id, image
            )
        if part == WHOLE:
            self._check_read(report)

    def warned_frames(self) -> Iterator[Frame]:
        """The decoded images; what could not be read is a `BagWarning` at the end.

        Raises:
            BagError: at the end, if not one image could be read.
        """
        report = ReadReport()
        yield from self.frames(report)
        for sentence in report.warnings():
            warnings.warn(sentence, BagWarning)

    def rate_hz(self) -> float | None:
        """Messages a second that are handed on, by the header stamps of the first; None if they do not increase."""
        first = islice(self._deserialized(ReadReport(), [self.topic]), _RATE_FRAMES)
        step_ns = typical_step_ns([stamp_ns(stamped.message.header) for stamped in first])
        return NANOSECONDS / step_ns if step_ns else None

    def camera_info(self) -> CameraInfoFields | None:
        """The first readable `CameraInfo` in the namespace of the image topic, or None."""
        topic = camera_info_topic(self.topic)
        for bag in self._bags:
            for recording in bag.recordings:
                for raw in recording.messages([topic]):
                    if (fields := RecordedCameraInfo(raw, recording.types).fields()) is not None:
                        return fields
        return None

    def _deserialized(
        self, report: ReadReport, topics: Sequence[str], part: BagPart = WHOLE
    ) -> Iterator[StampedMessage]:
        """The images, with the latest of the other ``topics``, which are `CameraInfo`."""
        for bag in self._bags:
            yield from self._deserialized_of(bag, report, topics, part)

    def _deserialized_of(
        self, bag: Bag, report: ReadReport, topics: Sequence[str], part: BagPart
    ) -> Iterator[StampedMessage]:
        def wanted(index: int) -> bool:
            return index % self.every == 0 and index in part

        images = ImageMessages(bag.path, wanted, partial(report.count_broken, bag.path))
        info: RecordedCameraInfo | None = None
        for note in bag.notes:
            report.note(bag.path, note)
        for recording in bag.recordings:
            report.note(bag.path, recording.damage)
            for raw in recording.messages(topics):
                # What comes behind is the work of somebody else.
                if part.ended(images.next_place):
                    return
                if raw.topic == self.topic:
                    yield from images.read(raw, recording.types, info)
                else:
                    info = RecordedCameraInfo(raw, recording.types)
            report.note(bag.path, recording.damage)
        yield from images.rest()
        report.note(bag.path, bag.missing(self.topic, images.count))

    def _check_read(self, report: ReadReport) -> None:
        """Nothing read is no result.

        Raises:
            BagError: no message was read; it says why, and what there is instead.
        """
        if not report.read:
            bags = ", ".join(str(bag.path) for bag in self._bags)
            reasons = "; ".join(report.warnings()).removesuffix(".")
            there = _contents(self._bags)
            raise BagError(f"Not one frame of {self.topic} could be read of {bags}: {reasons}. {there}.")


def camera_info_topic(image_topic: str) -> str:
    """`/front/camera_info` for `/front/image_raw` and for `/front/image_raw/compressed`."""
    plain = next((image_topic.removesuffix(f"/{t}") for t in TRANSPORTS if image_topic.endswith(f"/{t}")), image_topic)
    return plain.rpartition("/")[0] + "/camera_info"


def _open_all(paths: Path | Sequence[Path], stack: ExitStack) -> list[Bag]:
    named = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not named:
        raise BagError("No bag was named.")
    return [stack.enter_context(closing(open_bag(Path(path)))) for path in named]


def _image_topics(bags: Sequence[Bag]) -> list[TopicInfo]:
    return merged_topics(topic for bag in bags for topic in bag.topics() if is_readable(topic))


def _chosen_topic(bags: Sequence[Bag], wanted: str | None) -> str:
    for bag in bags:
        if not sum(topic.count for topic in bag.topics()):
            raise BagError(f"The bag {bag.path} is empty: it has no messages.{_notes(bag)}")
    names = list(dict.fromkeys(topic.name for topic in _image_topics(bags)))
    if wanted is None:
        cameras = [name for name in names if not _WRITTEN_HERE.search(name)] or names
        if len(cameras) != 1:
            raise BagError(f"Name the image topic (--topic); {_listing(bags)}.")
        return cameras[0]
    return wanted if wanted in names or f"/{wanted}" not in names else f"/{wanted}"


def _count(bag: Bag, topic: str) -> int:
    """How many messages the bag has on the topic: at least one."""
    found = [info for info in bag.topics() if info.name == topic]
    others = [info for info in found if not is_readable(info)]
    if others:
        unread = why_unread(others[0]).partition(": ")[2]
        advice = f" and is not read: {unread}" if unread else " and no images"
        msgtype = others[0].msgtype or "messages of no type"
        raise BagError(f"Topic {topic} of {bag.path} carries {msgtype}{advice}; {_listing([bag])}.")
    if not found:
        raise BagError(f"The bag {bag.path} has no topic {topic}; {_listing([bag])}.{_notes(bag)}")
    count = sum(info.count for info in found)
    if not count:
        raise BagError(f"The bag {bag.path} has no messages on {topic}; {_listing([bag])}.{_notes(bag)}")
    return count


def _notes(bag: Bag) -> str:
    """What is wrong with the bag, behind another sentence."""
    notes = [*bag.notes, *(recording.damage for recording in bag.recordings if recording.damage)]
    return f" ({'; '.join(notes)})" if notes else ""


def _listing(bags: Sequence[Bag]) -> str:
    topics = _image_topics(bags)
    unread = [reason for bag in bags for topic in bag.topics() if (reason := why_unread(topic))]
    if topics:
        listed = "image topics: " + ", ".join(f"{topic.name} ({topic.count} messages)" for topic in topics)
    else:
        listed = f"there are no image topics in {'it' if len(bags) == 1 else 'them'} that can be read"
    return "; ".join([listed, *dict.fromkeys(unread)])


def _contents(bags: Sequence[Bag]) -> str:
    topics = merged_topics(topic for bag in bags for topic in bag.topics())
    return "In it: " + ", ".join(f"{topic.name} ({topic.count} of {topic.msgtype})" for topic in topics)

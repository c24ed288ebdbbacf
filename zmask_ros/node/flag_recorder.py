"""`flag_recorder`: writes every flag, and the pictures around an attack, without decoding them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.topic_endpoint_info import TopicEndpointInfo

from zmask_ros.flags.topics import ATTACK_FLAG
from zmask_ros.io.bags.attack_capture import Capture, MissingFlags
from zmask_ros.io.bags.recording import RawMessage
from zmask_ros.io.bags.segmented import MIB, SegmentedBag, Spool
from zmask_ros.io.stamps import NANOSECONDS
from zmask_ros.msg import AttackFlag
from zmask_ros.node.parameters.flag_recorder import FlagRecorderParameters
from zmask_ros.node.parameters.spec import ParameterError, declare
from zmask_ros.node.recorder import LOOK_EVERY_S, TYPES, matching_qos

WARN_EVERY_S = 5.0
# Whoever starts everything together waits for the defence for some seconds; a wrong name is wrong for ever.
MISSING_AFTER_S = 10.0
MISSING_EVERY_S = 60.0
FLAGS_DEPTH = 1000
PICTURES_DEPTH = 30
Take = Callable[[RawMessage, int], list[RawMessage]]


def qos_of_flags(publishers: list[TopicEndpointInfo]) -> QoSProfile:
    """As reliable as they are sent, and a minute of them kept while pictures take all the time there is."""
    qos = matching_qos(publishers)
    qos.depth = FLAGS_DEPTH
    return qos


def qos_of_pictures(_publishers: list[TopicEndpointInfo]) -> QoSProfile:
    """Best effort, which any publisher satisfies: a recorder that falls behind must not hold up a camera."""
    return QoSProfile(depth=PICTURES_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)


@dataclass(frozen=True)
class _Source:
    """A topic, the types that it may have, what becomes of its messages, and how it is subscribed to."""

    topic: str
    types: dict[str, type]
    take: Take
    qos: Callable[[list[TopicEndpointInfo]], QoSProfile]


class FlagRecorder:
    """Subscribes to each topic when its publisher appears, with a quality of service that matches."""

    def __init__(self) -> None:
        self.node = Node("flag_recorder")
        self._parameters = declare(self.node, FlagRecorderParameters)
        if not self._parameters.path:
            raise ParameterError("Parameter path is empty: name the folder to write into.")
        self._captures: list[Capture] = []
        self._checks: list[MissingFlags] = []
        self._waiting = [source for camera in self._parameters.cameras for source in self._sources(camera)]
        self._counts: Counter[str] = Counter()
        self._lost = 0
        self._began_s = time.monotonic()
        self.finished = False
        self.node.create_timer(LOOK_EVERY_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        # Last: only `close` ends what it begins.
        self._spool = self._opened()

    def close(self) -> bool:
        """Finish the last file."""
        self._spool.close()
        written = ", ".join(f"{topic} {count}" for topic, count in sorted(self._counts.items())) or "nothing"
        self.node.get_logger().info(f"{self._parameters.path}: {written}{self._losses()}")
        return True

    def _opened(self) -> Spool:
        given = self._parameters
        bag = SegmentedBag(Path(given.path).expanduser(), given.file_mib * MIB, given.total_mib * MIB)
        return Spool(bag, given.sync_s)

    def _sources(self, camera: str) -> list[_Source]:
        given = self._parameters
        memory = given.memory_mib * MIB // len(given.cameras)
        capture = Capture(int(given.before_s * NANOSECONDS), int(given.after_s * NANOSECONDS), memory)
        self._captures.append(capture)
        flags, *pictures = (self._resolved(camera, topic) for topic in (given.flags, *given.pictures))
        return [
            _Source(flags, {ATTACK_FLAG: AttackFlag}, self._flag_taker(camera, capture), qos_of_flags),
            *(_Source(topic, TYPES, capture.picture, qos_of_pictures) for topic in pictures),
        ]

    def _resolved(self, camera: str, topic: str) -> str:
        return self.node.resolve_topic_name(f"{camera}/{topic}" if camera else topic)

    def _flag_taker(self, camera: str, capture: Capture) -> Take:
        check = MissingFlags()
        self._checks.append(check)

        def take(message: RawMessage, now_ns: int) -> list[RawMessage]:
            flag: AttackFlag = deserialize_message(message.data, AttackFlag)
            # 0: it is about no frame.
            if flag.sequence:
                check.add(flag.sequence, flag.received)
            attack = flag.state == AttackFlag.ATTACK
            if attack and not capture.writing(now_ns):
                self.node.get_logger().warning(f"attack{f' on {camera}' if camera else ''}: pictures are recorded")
            return capture.flag(message, attack, now_ns)

        return take

    def _look(self) -> None:
        if self._spool.error is not None:
            raise self._spool.error
        for source in list(self._waiting):
            publishers = self.node.get_publishers_info_by_topic(source.topic)
            if not publishers:
                continue
            self._waiting.remove(source)
            kind = publishers[0].topic_type
            if kind not in source.types:
                self.node.get_logger().warning(f"{source.topic} is of type {kind}, which is not recorded")
                continue
            self.node.create_subscription(
                source.types[kind], source.topic, self._receives(source, kind), source.qos(publishers), raw=True
            )

        if self._waiting and time.monotonic() - self._began_s > MISSING_AFTER_S:
            missing = ", ".join(source.topic for source in self._waiting)
            self.node.get_logger().warning(
                f"not recorded, because nobody publishes it: {missing}", throttle_duration_sec=MISSING_EVERY_S
            )

    def _receives(self, source: _Source, kind: str) -> Callable[[bytes], None]:
        def receive(data: bytes) -> None:
            received_ns = self.node.get_clock().now().nanoseconds
            for message in source.take(RawMessage(source.topic, kind, received_ns, data), time.monotonic_ns()):
                self._write(message)

        return receive

    def _write(self, message: RawMessage) -> None:
        is_flag = message.msgtype == ATTACK_FLAG
        if not is_flag and self._spool.waiting_bytes > self._parameters.memory_mib * MIB:
            self._lost += 1
            self.node.get_logger().warning(
                "the disk is too slow: pictures are lost", throttle_duration_sec=WARN_EVERY_S
            )
            return
        self._spool.put(message)
        self._counts[message.topic] += 1

    def _losses(self) -> str:
        losses = {
            "flags did not arrive": sum(check.missing for check in self._checks),
            "pictures did not fit into memory_mib": sum(capture.given_up for capture in self._captures),
            "pictures were lost to a slow disk": self._lost,
        }
        return "".join(f"; {count} {what}" for what, count in losses.items() if count)

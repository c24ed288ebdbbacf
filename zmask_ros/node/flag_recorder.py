"""`flag_recorder`: writes every flag, and the pictures around an attack, without decoding them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.topic_endpoint_info import TopicEndpointInfo

from zmask_ros.flags.topics import ATTACK_FLAG
from zmask_ros.io.bags.attack_capture import Capture, MissingFlags
from zmask_ros.io.bags.raw_messages import RawMessage
from zmask_ros.io.bags.segmented import MIB, SegmentedBag, Spool
from zmask_ros.io.stamps import NANOSECONDS
from zmask_ros.msg import AttackFlag
from zmask_ros.node.parameters.flag_recorder import FlagRecorderParameters
from zmask_ros.node.parameters.spec import ParameterError, declare
from zmask_ros.node.qos import keep_last
from zmask_ros.node.throttle import at_most_every
from zmask_ros.node.topic_subscriber import DISCOVERY_PERIOD_S, SubscribedTopic, TopicSubscriber, matching_qos

WARN_EVERY_S = 5.0
# Where everything is started together, the defense takes some seconds; a wrong name stays wrong.
MISSING_AFTER_S = 10.0
MISSING_EVERY_S = 60.0
# A minute of them, while pictures take all the time there is.
FLAGS_DEPTH = 1000
PICTURES_DEPTH = 30


def pictures_qos(_publishers: list[TopicEndpointInfo]) -> QoSProfile:
    """Best effort, which any publisher satisfies: a recorder that falls behind must not hold up a camera."""
    return keep_last(PICTURES_DEPTH, ReliabilityPolicy.BEST_EFFORT)


class FlagRecorder(Node):
    """Writes the flags of each camera as they come, and its pictures once a `Capture` lets them through."""

    finished = False
    """Never: it runs until it is stopped."""

    def __init__(self) -> None:
        super().__init__("flag_recorder")
        self._settings = settings = declare(self, FlagRecorderParameters)
        if not settings.path:
            raise ParameterError("Parameter path is empty: name the folder to write into.")
        self._captures: list[Capture] = []
        self._checks: list[MissingFlags] = []
        topics = [topic for camera in settings.cameras for topic in self._camera_topics(camera)]
        self._subscriber = TopicSubscriber(self, topics)
        self._counts: Counter[str] = Counter()
        self._lost = 0
        self._began_s = time.monotonic()
        self.create_timer(DISCOVERY_PERIOD_S, self._discover, clock=Clock(clock_type=ClockType.STEADY_TIME))
        # Last: only `close` ends what it begins.
        bag = SegmentedBag(Path(settings.path).expanduser(), settings.file_mib * MIB, settings.total_mib * MIB)
        self._spool = Spool(bag, settings.sync_s)

    def close(self) -> None:
        """Take what has arrived, and finish the last file."""
        self._subscriber.drain()
        self._spool.close()
        written = ", ".join(f"{topic} {count}" for topic, count in sorted(self._counts.items())) or "nothing"
        losses = {
            "flags did not arrive": sum(check.missing for check in self._checks),
            "pictures did not fit into memory_mib": sum(capture.given_up for capture in self._captures),
            "pictures were lost to a slow disk": self._lost,
        }
        lost = "".join(f"; {count} {what}" for what, count in losses.items() if count)
        self.get_logger().info(f"{self._settings.path}: {written}{lost}")

    def _camera_topics(self, camera: str) -> list[SubscribedTopic]:
        """The flags of a camera, and the pictures that are captured around its attacks."""
        settings = self._settings
        memory = settings.memory_mib * MIB // len(settings.cameras)
        capture = Capture(int(settings.before_s * NANOSECONDS), int(settings.after_s * NANOSECONDS), memory)
        check = MissingFlags()
        self._captures.append(capture)
        self._checks.append(check)

        def receive_flag(message: RawMessage) -> None:
            now_ns = time.monotonic_ns()
            flag: AttackFlag = deserialize_message(message.data, AttackFlag)
            # 0: it is about no frame.
            if flag.sequence:
                check.add(flag.sequence, flag.received)
            attack = flag.state == AttackFlag.ATTACK
            if attack and not capture.writing(now_ns):
                self.get_logger().warning(f"attack{f' on {camera}' if camera else ''}: pictures are recorded")
            self._write(capture.flag(message, attack, now_ns))

        def receive_picture(message: RawMessage) -> None:
            self._write(capture.picture(message, time.monotonic_ns()))

        flags, *pictures = (
            self.resolve_topic_name(f"{camera}/{topic}" if camera else topic)
            for topic in (settings.flags, *settings.pictures)
        )
        return [
            SubscribedTopic(flags, receive_flag, {ATTACK_FLAG: AttackFlag}, partial(matching_qos, depth=FLAGS_DEPTH)),
            *(SubscribedTopic(topic, receive_picture, qos=pictures_qos) for topic in pictures),
        ]

    def _discover(self) -> None:
        if self._spool.error is not None:
            raise self._spool.error
        self._subscriber.discover()
        if self._subscriber.missing and time.monotonic() - self._began_s > MISSING_AFTER_S:
            self.get_logger().warning(
                f"not recorded, because nobody publishes it: {', '.join(self._subscriber.missing)}",
                **at_most_every(MISSING_EVERY_S),
            )

    def _write(self, messages: Iterable[RawMessage]) -> None:
        for message in messages:
            is_flag = message.msgtype == ATTACK_FLAG
            if not is_flag and self._spool.waiting_bytes > self._settings.memory_mib * MIB:
                self._lost += 1
                self.get_logger().warning("the disk is too slow: pictures are lost", **at_most_every(WARN_EVERY_S))
                continue
            self._spool.put(message)
            self._counts[message.topic] += 1

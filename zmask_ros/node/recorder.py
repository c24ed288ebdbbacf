"""`recorder`: writes a camera's topics and the defense's into a bag, without decoding them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from zmask_ros.io.bags.raw_messages import RawMessage
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.node.parameters.recorder import RecorderParameters
from zmask_ros.node.parameters.spec import ParameterError, declare
from zmask_ros.node.topic_subscriber import DISCOVERY_PERIOD_S, SubscribedTopic, TopicSubscriber


class Recorder(Node):
    """Writes the topics that its parameters name, each from the moment that it is published."""

    finished = False
    """Never: it runs until it is stopped."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self._settings = declare(self, RecorderParameters)
        if not self._settings.path:
            raise ParameterError("Parameter path is empty: name the bag to write.")
        self._counts: Counter[str] = Counter()
        names = [self.resolve_topic_name(topic) for topic in self._settings.topics]
        last = self.resolve_topic_name(self._settings.last) if self._settings.last else ""
        topics = [SubscribedTopic(name, self._write, last=name == last) for name in names]
        self._subscriber = TopicSubscriber(self, topics)
        self.create_timer(DISCOVERY_PERIOD_S, self._subscriber.discover, clock=Clock(clock_type=ClockType.STEADY_TIME))
        # Last: only `close` removes what it has begun to write.
        self._writer = BagWriter(
            Path(self._settings.path).expanduser(), self._settings.compress, self._settings.overwrite
        )

    def close(self) -> None:
        """Write what has arrived, and finish the bag."""
        self._subscriber.drain()
        self._writer.close()
        counts = {topic: self._counts[topic] for topic in sorted(self._counts)}
        self.get_logger().info(
            f"{self._settings.path}: " + ", ".join(f"{topic} {count}" for topic, count in counts.items())
        )
        if self._settings.summary:
            Path(self._settings.summary).expanduser().write_text(json.dumps(counts) + "\n")

    def _write(self, message: RawMessage) -> None:
        self._writer.write_serialized(message.topic, message.msgtype, message.data, message.received_ns)
        self._counts[message.topic] += 1

"""`recorder`: writes a camera's topics and the defence's into a bag, without decoding them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.msg import AttackFlag
from zmask_ros.node.parameters.spec import ParameterError, declare
from zmask_ros.node.parameters.street import RecorderParameters

LOOK_EVERY_S = 0.1
DEPTH = 30
TYPES = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
    "sensor_msgs/msg/CameraInfo": CameraInfo,
    "zmask_ros/msg/AttackFlag": AttackFlag,
}


def matching_qos(publishers: list[TopicEndpointInfo]) -> QoSProfile:
    """Reliable and lasting if every publisher is, so that all of them can be received."""
    reliable = all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in publishers)
    lasting = all(info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in publishers)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if lasting else DurabilityPolicy.VOLATILE,
    )


class Recorder:
    """Subscribes to each topic when its publisher appears, with a quality of service that matches."""

    def __init__(self) -> None:
        self.node = Node("recorder")
        self._parameters = declare(self.node, RecorderParameters)
        if not self._parameters.path:
            raise ParameterError("Parameter path is empty: name the bag to write.")
        self._counts: Counter[str] = Counter()
        self._waiting = [self.node.resolve_topic_name(topic) for topic in self._parameters.topics]
        self._last = self.node.resolve_topic_name(self._parameters.last) if self._parameters.last else ""
        self.finished = False
        self.node.create_timer(LOOK_EVERY_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        # Last: only `close` removes what it has begun to write.
        self._writer = BagWriter(
            Path(self._parameters.path).expanduser(), self._parameters.compress, self._parameters.overwrite
        )

    def close(self) -> bool:
        """Finish the bag."""
        self._writer.close()
        counts = {topic: self._counts[topic] for topic in sorted(self._counts)}
        self.node.get_logger().info(
            f"{self._parameters.path}: " + ", ".join(f"{topic} {count}" for topic, count in counts.items())
        )
        if self._parameters.summary:
            Path(self._parameters.summary).expanduser().write_text(json.dumps(counts) + "\n")
        return True

    def _look(self) -> None:
        for topic in list(self._waiting):
            if topic == self._last and len(self._waiting) > 1:
                continue
            publishers = self.node.get_publishers_info_by_topic(topic)
            if publishers:
                self._waiting.remove(topic)
                self._subscribe(topic, publishers)

    def _subscribe(self, topic: str, publishers: list[TopicEndpointInfo]) -> None:
        kind = publishers[0].topic_type
        if kind not in TYPES:
            self.node.get_logger().warning(f"{topic} is of type {kind}, which is not recorded")
            return
        self.node.create_subscription(TYPES[kind], topic, self._writes(topic, kind), matching_qos(publishers), raw=True)

    def _writes(self, topic: str, kind: str) -> Callable[[Any], None]:
        def write(data: bytes) -> None:
            self._writer.write_serialized(topic, kind, data, self.node.get_clock().now().nanoseconds)
            self._counts[topic] += 1

        return write

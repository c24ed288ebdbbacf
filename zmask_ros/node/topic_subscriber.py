"""Subscriptions to whatever topics are there: made when a publisher appears, with its type, and not decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from zmask_ros.io.bags.raw_messages import RawMessage
from zmask_ros.msg import AttackFlag
from zmask_ros.node.qos import keep_last

DISCOVERY_PERIOD_S = 0.1
"""How often publishers are searched for."""
DEPTH = 30
TYPES = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
    "sensor_msgs/msg/CameraInfo": CameraInfo,
    "zmask_ros/msg/AttackFlag": AttackFlag,
}
"""Every type that is recorded, by its name."""


def matching_qos(publishers: list[TopicEndpointInfo], depth: int = DEPTH) -> QoSProfile:
    """Reliable and lasting if every publisher is, so that all of them can be received."""
    reliable = all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in publishers)
    lasting = all(info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in publishers)
    return keep_last(
        depth,
        ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        DurabilityPolicy.TRANSIENT_LOCAL if lasting else DurabilityPolicy.VOLATILE,
    )


@dataclass(frozen=True)
class SubscribedTopic:
    """A topic, and what becomes of its messages.

    Attributes:
        name: full.
        receive: takes each message as it came over the wire, with the time of reception by the node's clock.
        types: the classes of the types that it may have, by their names; of any other type it is not subscribed to.
        qos: the quality of service for its publishers.
        last: whether it is subscribed to only when every other topic has been.
    """

    name: str
    receive: Callable[[RawMessage], None]
    types: Mapping[str, type] = field(default_factory=lambda: TYPES)
    qos: Callable[[list[TopicEndpointInfo]], QoSProfile] = matching_qos
    last: bool = False


class TopicSubscriber:
    """Subscribes a node to each of several topics when its first publisher appears.

    Args:
        node: whose subscriptions they are.
        topics: what to wait for.
    """

    def __init__(self, node: Node, topics: Iterable[SubscribedTopic]) -> None:
        self._node = node
        self._waiting = list(topics)
        self._subscriptions: list[Subscription] = []

    @property
    def missing(self) -> list[str]:
        """The names of the topics that nobody has published so far."""
        return [topic.name for topic in self._waiting]

    def discover(self) -> None:
        """Subscribe to the topics that have a publisher by now."""
        for topic in list(self._waiting):
            if topic.last and len(self._waiting) > 1:
                continue
            if publishers := self._node.get_publishers_info_by_topic(topic.name):
                self._waiting.remove(topic)
                self._subscribe(topic, publishers)

    def drain(self) -> None:
        """Receive what has arrived and waits for the executor, at most what a queue holds: before the node ends."""
        for own in self._subscriptions:
            with own.handle:
                for _ in range(own.qos_profile.depth):
                    taken = own.handle.take_message(own.msg_type, own.raw)
                    if taken is None:
                        break
                    own.callback(taken[0])

    def _subscribe(self, topic: SubscribedTopic, publishers: list[TopicEndpointInfo]) -> None:
        kind = publishers[0].topic_type
        if kind not in topic.types:
            self._node.get_logger().warning(f"{topic.name} is of type {kind}, which is not recorded")
            return
        receive = partial(self._receive, topic, kind)
        qos = topic.qos(publishers)
        self._subscriptions.append(
            self._node.create_subscription(topic.types[kind], topic.name, receive, qos, raw=True)
        )

    def _receive(self, topic: SubscribedTopic, kind: str, data: bytes) -> None:
        topic.receive(RawMessage(topic.name, kind, self._node.get_clock().now().nanoseconds, data))

"""Subscriptions that are made when a publisher appears, with its type and its quality of service."""

from __future__ import annotations

import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from support.node_processes import LATCHED, RELIABLE, Client
from zmask_ros.io.bags.raw_messages import RawMessage
from zmask_ros.node.topic_subscriber import SubscribedTopic, TopicSubscriber

NAMESPACE = "/subscribed"
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def topic(name: str, received: list[RawMessage], last: bool = False) -> SubscribedTopic:
    return SubscribedTopic(f"{NAMESPACE}/{name}", received.append, last=last)


def test_the_last_topic_is_subscribed_to_when_all_others_are(client: Client) -> None:
    received: list[RawMessage] = []
    subscriber = TopicSubscriber(client.node, [topic("image", received, last=True), topic("info", received)])
    images = client.node.create_publisher(Image, "image", LATCHED)
    client.until(lambda: client.node.count_publishers("image"), "the first publisher")
    subscriber.discover()
    assert subscriber.missing == [f"{NAMESPACE}/image", f"{NAMESPACE}/info"]
    client.node.create_publisher(CameraInfo, "info", RELIABLE)

    def subscribed() -> bool:
        subscriber.discover()
        return not subscriber.missing

    client.until(subscribed, "both subscriptions")
    images.publish(Image(height=3))
    client.until(lambda: received, "a message that is not decoded")
    assert (received[0].topic, received[0].msgtype) == (f"{NAMESPACE}/image", "sensor_msgs/msg/Image")


def test_a_topic_of_a_type_that_is_not_recorded_is_given_up(client: Client) -> None:
    subscriber = TopicSubscriber(client.node, [topic("text", [])])
    client.node.create_publisher(String, "text", 1)

    def given_up() -> bool:
        subscriber.discover()
        return not subscriber.missing

    client.until(given_up, "the end of the wait")
    assert client.node.count_subscribers("text") == 0


def test_a_subscription_is_as_reliable_as_all_publishers_are(client: Client) -> None:
    subscriber = TopicSubscriber(client.node, [topic("mixed", [])])
    for qos in (LATCHED, BEST_EFFORT):
        client.node.create_publisher(Image, "mixed", qos)
    client.until(lambda: client.node.count_publishers("mixed") == 2, "both publishers")
    subscriber.discover()
    (info,) = client.node.get_subscriptions_info_by_topic(f"{NAMESPACE}/mixed")
    assert info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    assert info.qos_profile.durability == DurabilityPolicy.VOLATILE

"""`defense_node` with cameras and subscribers of every quality of service, over real DDS."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from support.node_processes import RELIABLE, Client, StartedNode, image_message, tiny_parameters
from support.tiny_network import clean_image
from zmask_ros.msg import AttackFlag
from zmask_ros.runtime.picture_topics import PICTURE_TOPICS

NAMESPACE = "/qos"
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
STRICT_RELIABLE = {"qos_overrides./qos/strict/image_raw.subscription.reliability": "reliable"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedNode]:
    """Two cameras: one with the node's own quality of service, and one that takes reliable images only."""
    parameters = {**tiny_parameters(tmp_path_factory.mktemp("qos")), **STRICT_RELIABLE}
    cameras = {"cameras": ["plain", "strict"], "timeout_s": 60.0}
    with StartedNode("defense_node", {**parameters, **cameras}, NAMESPACE) as process:
        yield process


def expect_flags(client: Client, publisher: Any, flags: list[AttackFlag], wanted: int) -> None:
    """Send frames until so many were flagged clean; what is sent best effort may get lost."""
    numbers = count(1)

    def clean() -> bool:
        publisher.publish(image_message(next(numbers), clean_image(3, 480, 640)))
        return sum(flag.state == AttackFlag.CLEAN for flag in flags) >= wanted

    client.until(clean, f"{wanted} clean flags")


@pytest.mark.parametrize("qos", [BEST_EFFORT, RELIABLE], ids=["best effort", "reliable"])
def test_every_camera_is_received(node: StartedNode, client: Client, qos: QoSProfile) -> None:
    flags = client.collect(AttackFlag, "plain/zmask/attack")
    expect_flags(client, client.node.create_publisher(Image, "plain/image_raw", qos), flags, 3)


def test_a_camera_that_cannot_be_received_is_named_and_the_other_goes_on(node: StartedNode, client: Client) -> None:
    arrays = client.collect(DiagnosticArray, "/diagnostics")
    flags = client.collect(AttackFlag, "plain/zmask/attack")
    plain = client.node.create_publisher(Image, "plain/image_raw", RELIABLE)
    strict = client.node.create_publisher(Image, "strict/image_raw", BEST_EFFORT)

    def named() -> bool:
        strict.publish(image_message(1, clean_image(1)))
        statuses = [status for message in arrays for status in message.status]
        return any(
            status.name == "defense_node: strict input"
            and status.level == DiagnosticStatus.ERROR
            and "RELIABILITY" in status.message
            for status in statuses
        )

    client.until(named, "the policy to be named")
    expect_flags(client, plain, flags, 1)


def test_a_subscriber_that_takes_nothing_holds_nothing_up(node: StartedNode, client: Client) -> None:
    """It asks for every picture and for the flags, reliably, and never looks."""
    slow = Client(NAMESPACE)
    try:
        for topic in PICTURE_TOPICS:
            slow.collect(Image, f"plain/{topic.name}")
        slow.collect(AttackFlag, "plain/zmask/attack")
        flags = client.collect(AttackFlag, "plain/zmask/attack")
        publisher = client.node.create_publisher(Image, "plain/image_raw", RELIABLE)
        client.until(lambda: client.node.count_subscribers("plain/zmask/heat"), "the slow subscriber")
        expect_flags(client, publisher, flags, 50)
        assert flags[-1].processed + flags[-1].dropped <= flags[-1].received
    finally:
        slow.close()

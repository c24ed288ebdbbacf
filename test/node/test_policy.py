"""The SROS 2 policy against running nodes: it allows what they do, and nothing that they never do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from support import ROOT, TESTS

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from support.node_processes import Client, StartedNode
from support.tiny_network import describe, fit
from zmask_ros.msg import AttackFlag

POLICY = ROOT / "deploy" / "sros2" / "policy.xml"
NAMESPACE = "/front"
GRAPH: dict[tuple[str, str], Callable[[Node, str, str], list[tuple[str, list[str]]]]] = {
    ("topics", "publish"): Node.get_publisher_names_and_types_by_node,
    ("topics", "subscribe"): Node.get_subscriber_names_and_types_by_node,
    ("services", "reply"): Node.get_service_names_and_types_by_node,
}
# With another transport, with simulated time, or where a package is installed.
DEPENDING = {"/front/image_raw/compressed", "/clock", "/front/zmask/detections", "/front/zmask/label_info"}
# Some versions of rclpy have these, and some not.
DEPENDING |= {"/parameter_events", "/front/defense_node/get_type_description"}
DEPENDING |= {"/front/flag_recorder/get_type_description"}


def allowed(node: str) -> dict[tuple[str, str], set[str]]:
    """The full names in the policy of a node."""
    (profile,) = (one for one in ElementTree.parse(POLICY).iter("profile") if one.attrib["node"] == node)
    names: dict[tuple[str, str], set[str]] = {}
    for group in profile:
        names[group.tag, next(iter(group.attrib))] = {full_name(str(one.text), node) for one in group}
    return names


def full_name(name: str, node: str) -> str:
    if name.startswith("/"):
        return name
    return f"{NAMESPACE}/{node}{name[1:]}" if name.startswith("~") else f"{NAMESPACE}/{name}"


def done(client: Client, node: str) -> dict[tuple[str, str], set[str]]:
    """What the node does at this moment."""
    if (node, NAMESPACE) not in client.node.get_node_names_and_namespaces():
        return {what: set() for what in GRAPH}
    return {what: {name for name, _ in ask(client.node, node, NAMESPACE)} for what, ask in GRAPH.items()}


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client("/watching")
    yield client
    client.close()


def assert_policy_fits(client: Client, node: str) -> None:
    policy = allowed(node)
    assert policy.keys() == GRAPH.keys()

    def does_everything() -> bool:
        return all(policy[what] - DEPENDING <= names for what, names in done(client, node).items())

    client.until(does_everything, f"{node} to do all that the policy allows")
    for what, names in done(client, node).items():
        assert names <= policy[what], f"{what} are not in the policy"


def test_the_policy_of_the_defence(tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TESTS))
    description = describe(tmp_path)
    parameters: dict[str, Any] = {"segmenter": str(description), "profile": str(fit(description))}
    with StartedNode("defense_node", {**parameters, "num_threads": 1, "publish_undefended": True}, NAMESPACE):
        assert_policy_fits(client, "defense_node")


def test_the_policy_of_the_recorder(tmp_path: Path, client: Client) -> None:
    for topic, kind in (
        ("image_raw", Image),
        ("camera_info", CameraInfo),
        ("zmask/attack", AttackFlag),
        ("zmask/mask", Image),
        ("image_raw/compressed", CompressedImage),
    ):
        client.node.create_publisher(kind, f"{NAMESPACE}/{topic}", 1)
    command = [sys.executable, "-m", "zmask_ros.cli.main", "record", str(tmp_path / "out"), "--namespace", NAMESPACE]
    with subprocess.Popen(command, env=os.environ.copy()) as process:
        try:
            assert_policy_fits(client, "flag_recorder")
        finally:
            process.terminate()

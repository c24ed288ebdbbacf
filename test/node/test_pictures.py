"""Pictures that are damaged, dark, or of fewer bits than their encoding has, through the running node."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from sensor_msgs.msg import CompressedImage, Image

from support.lossy_jpegs import LOSSES, lose, street_jpegs
from support.node_processes import Camera, Client, StartedNode, header, image_message, tiny_parameters
from support.tiny_network import clean_image
from zmask_ros.io.images.remarks import NEARLY_BLACK
from zmask_ros.msg import AttackFlag

NAMESPACE = "/pictures"
SHARES = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
# How many pictures of each share and kind of loss; as in the test of the codec.
COUNT = int(os.environ.get("ZMASK_LOST_JPEGS", "1"))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedNode]:
    """A camera that sends JPEG; one of twelve bits; one of which nobody has said how many bits it has."""
    folder = tmp_path_factory.mktemp("pictures")
    parameters = tiny_parameters(folder, *(f"{NAMESPACE}/{name}/" for name in ("small", "twelve", "open")))
    parameters |= {"cameras": ["small", "twelve", "open"], "small.image_transport": "compressed"}
    parameters |= {"twelve.significant_bits": 12, "timeout_s": 60.0}
    with StartedNode("defense_node", parameters, NAMESPACE) as process:
        yield process


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    client = Client(NAMESPACE)
    yield client
    client.close()


def raw(client: Client, name: str) -> Camera:
    return Camera(client, Image, f"{name}/image_raw", f"{name}/zmask/attack")


@pytest.fixture
def small(node: StartedNode, client: Client) -> Camera:
    return Camera(client, CompressedImage, "small/image_raw/compressed", "small/zmask/attack")


@pytest.mark.parametrize("loss", LOSSES)
def test_of_a_street_that_arrives_in_part_every_frame_is_flagged_unknown(small: Camera, loss: str) -> None:
    random, states = np.random.default_rng(7), Counter[int]()
    for number, share in enumerate(SHARES * COUNT):
        whole = street_jpegs(95)[number % 2]
        data = lose(whole, loss, share, random.uniform(0.05, 1.0))
        flag = small.ask(CompressedImage(header=header(number), format="jpeg", data=data))
        assert (flag.state, flag.header) == (AttackFlag.UNKNOWN, header(number))
        assert "corrupt or cut off" in flag.reason
        states[flag.state] += 1
    print(f"{loss}: {number + 1} frames sent, {states[AttackFlag.UNKNOWN]} flags UNKNOWN of {states.total()}")
    number += 1
    flag = small.ask(CompressedImage(header=header(number), format="jpeg", data=street_jpegs(95)[0]))
    assert flag.state != AttackFlag.UNKNOWN and flag.received == flag.sequence


def test_a_black_frame_has_a_verdict_and_the_reason_says_what_it_is_worth(node: StartedNode, client: Client) -> None:
    flag = raw(client, "open").ask(image_message(3, np.zeros((48, 64, 3), np.uint8)))
    assert flag.state != AttackFlag.UNKNOWN
    assert flag.reason.endswith(NEARLY_BLACK)
    client.until(lambda: f"open: {NEARLY_BLACK}" in node.output, "the warning")


def test_a_camera_of_twelve_bits_is_read_as_it_is_set(node: StartedNode, client: Client) -> None:
    wide = np.ascontiguousarray(clean_image(7)).astype(np.uint16) << 4
    wide[0, 0] = 4095
    flags = {}
    for name in ("twelve", "open"):
        message = image_message(5, np.ascontiguousarray(wide.reshape(48, -1)), "mono16")
        message.encoding, message.width = "rgb16", 64
        flags[name] = raw(client, name).ask(message)
    assert (flags["twelve"].state, flags["twelve"].reason) == (AttackFlag.CLEAN, "")
    assert "set significant_bits to 12" in flags["open"].reason and NEARLY_BLACK in flags["open"].reason

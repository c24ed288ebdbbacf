"""`zmask play` and `player` as users run them, over real DDS: order, rate, clock, loops, quality of service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from support.node_processes import PATIENCE_S, Client
from zmask_ros.io.stamps import NANOSECONDS

NAMESPACE = "/audience"
FIRST_NS = 1_700_000_000 * NANOSECONDS
STEP_NS = 50_000_000
COUNT = 40
SPAN_S = (COUNT - 1) * STEP_NS / NANOSECONDS
FOREVER = QosTime(0, 0)
STRING = "std_msgs/msg/String"
# Receives from publishers of both kinds.
BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
# Enough for the test's subscriptions to be discovered: who misses the first announcements waits 3 s for the next one.
DELAY = ("--delay", "6")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbers on two topics in turn; one of them best effort, and one message of a type that nobody has."""
    path = tmp_path_factory.mktemp("bags") / "numbers"
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = [
            writer.add_connection(topic, STRING, typestore=store, offered_qos_profiles=[profile])
            for topic, profile in (("/even", offered(True, True)), ("/odd", offered(False, False)))
        ]
        for index in range(COUNT):
            data = store.serialize_cdr(store.types[STRING](data=str(index)), STRING)
            writer.write(connections[index % 2], FIRST_NS + index * STEP_NS, data)
    return path


def offered(reliable: bool, lasting: bool) -> Qos:
    return Qos(
        QosHistory.KEEP_LAST,
        7,
        QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if lasting else QosDurability.VOLATILE,
        FOREVER,
        FOREVER,
        QosLiveliness.AUTOMATIC,
        FOREVER,
        False,
    )


@contextmanager
def playing(bag: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`zmask play` in a process of its own."""
    command = [sys.executable, "-c", "from zmask_ros.cli.main import main; main()", "play", str(bag), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Audience:
    """Receives the numbers with the time of their arrival."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.heard: list[tuple[int, float]] = []
        for topic in ("/even", "/odd"):
            client.node.create_subscription(String, topic, self._receive, BEST_EFFORT)

    def _receive(self, message: String) -> None:
        self.heard.append((int(message.data), time.monotonic()))

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.heard]


@pytest.mark.parametrize("rate", [1.0, 2.5])
def test_a_bag_is_played_in_its_order_at_its_rate(bag: Path, client: Client, rate: float) -> None:
    audience = Audience(client)
    with playing(bag, "--rate", str(rate), *DELAY) as process:
        client.until(lambda: {COUNT - 2, COUNT - 1} <= {*audience.numbers}, "the last numbers")
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout is not None and f"played {COUNT} messages" in process.stdout.read()
    # Between two topics a busy subscriber may take the later message first.
    for first in range(2):
        assert [number for number in audience.numbers if number % 2 == first] == list(range(first, COUNT, 2))
    took_s = audience.heard[-1][1] - audience.heard[0][1]
    # How late a message is depends on the machine, and the first one may be, too; but none is early.
    assert SPAN_S / rate * 0.9 < took_s < SPAN_S / rate + 2.0


def test_the_clock_is_that_of_the_recording_and_jumps_back_with_a_loop(bag: Path, client: Client) -> None:
    clocks: list[tuple[float, float]] = []

    def receive(message: Clock) -> None:
        clocks.append((message.clock.sec + message.clock.nanosec / NANOSECONDS, time.monotonic()))

    client.node.create_subscription(Clock, "/clock", receive, BEST_EFFORT)
    audience = Audience(client)
    rate = 4.0
    with playing(bag, "--rate", str(rate), "--loop", "--clock", "100", "--wait", "60", "--delay", "1") as process:
        client.until(
            lambda: audience.numbers.count(COUNT - 1) >= 2 and audience.numbers[-1] in (4, 5, 6), "a third loop"
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    backwards = [index for index, (one, other) in enumerate(pairwise(clocks)) if other[0] < one[0]]
    # Not at the beginning: until then it stands still.
    assert len(backwards) == sum(after < before - COUNT / 2 for before, after in pairwise(audience.numbers)) >= 2
    for index in backwards:
        assert clocks[index + 1][0] == pytest.approx(FIRST_NS / NANOSECONDS, abs=1.0)
    between = clocks[backwards[-2] + 1 : backwards[-1] + 1]
    played_s, took_s = (between[-1][which] - between[0][which] for which in (0, 1))
    assert played_s / took_s == pytest.approx(rate, rel=0.1)


def test_topics_have_the_quality_of_service_of_the_recording(bag: Path, client: Client) -> None:
    with playing(bag, "--loop", "--exclude-regex", "/nothing", *DELAY):
        infos = {}

        def known() -> bool:
            for topic in ("/even", "/odd"):
                for info in client.node.get_publishers_info_by_topic(topic):
                    infos[topic] = (info.qos_profile.reliability, info.qos_profile.durability)
            return len(infos) == 2

        client.until(known, "the publishers")
    assert infos == {
        "/even": (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL),
        "/odd": (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE),
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_told(bag: Path, client: Client, number: signal.Signals) -> None:
    audience = Audience(client)
    with playing(bag, "--loop", "--topic", "/odd") as process:
        client.until(lambda: audience.heard, "a number")
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0
    assert all(one % 2 for one in audience.numbers)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--topic", "/none"), "has no topic /none; it has /even, /odd."),
        (("--exclude-regex", "("), "'(' is not a regular expression"),
        (("--rate", "0"), "rate"),
    ],
)
def test_what_cannot_be_played_is_one_sentence(bag: Path, arguments: tuple[str, ...], sentence: str) -> None:
    with playing(bag, *arguments) as process:
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert sentence in output and len(output.splitlines()) == 1


def test_a_type_that_is_not_installed_is_passed_over(tmp_path: Path, client: Client) -> None:
    odd = "strange_msgs/msg/Odd"
    text = "string data"
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        strange = writer.add_connection("/strange", odd, msgdef=text, rihs01="RIHS01_00")
        known = writer.add_connection("/odd", STRING, typestore=store)
        data = store.serialize_cdr(store.types[STRING](data="7"), STRING)
        for connection in (strange, known):
            writer.write(connection, FIRST_NS, data)
    audience = Audience(client)
    with playing(tmp_path / "bag", *DELAY) as process:
        client.until(lambda: audience.heard, "the number")
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert f"/strange is not played: {odd} is not installed" in output

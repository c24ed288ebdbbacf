"""`defense_node` and time: stamps by simulated time, bags in a loop, a camera that is too fast."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from builtin_interfaces.msg import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from support.faulty_network import SLOW_S, Faults
from support.node_processes import (
    DEEP_INPUT,
    LATCHED,
    RELIABLE,
    Camera,
    Client,
    StartedNode,
    header,
    image_message,
    tiny_parameters,
)
from support.tiny_network import clean_image
from zmask_ros.msg import AttackFlag, AttackSummary

NAMESPACE = "/timed"
MAX_AGE_S = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("timed")


@pytest.fixture(scope="module")
def faults(folder: Path) -> Faults:
    return Faults(folder)


@pytest.fixture(scope="module")
def node(folder: Path, faults: Faults) -> Iterator[StartedNode]:
    parameters = tiny_parameters(folder, f"{NAMESPACE}/")
    parameters |= {"segmenter": str(faults.describe(folder)), "use_sim_time": True, "max_age_s": float(MAX_AGE_S)}
    parameters |= {f"qos_overrides./clock.{policy}": value for policy, value in DEEP_INPUT.items()}
    with StartedNode("defense_node", {**parameters, "timeout_s": 60.0}, NAMESPACE) as process:
        yield process


@pytest.fixture
def camera(node: StartedNode, client: Client) -> Camera:
    return Camera(client)


class SimulatedTime:
    """Says what time it is, until the node knows."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._publisher = client.node.create_publisher(Clock, "/clock", RELIABLE)
        self._summaries: list[AttackSummary] = client.collect(AttackSummary, "zmask/summary", LATCHED)
        client.until(self._publisher.get_subscription_count, "the node's subscription to /clock")

    def set(self, seconds: int) -> None:
        def known() -> bool:
            self._publisher.publish(Clock(clock=Time(sec=seconds)))
            return bool(self._summaries) and self._summaries[-1].header.stamp.sec == seconds

        self._client.until(known, f"the node to know that it is {seconds} s")


def frame(number: int) -> Image:
    return image_message(number, clean_image(number))


def test_age_goes_by_simulated_time_and_its_sign(client: Client, camera: Camera) -> None:
    clock, number = SimulatedTime(client), 1
    taken = header(number).stamp.sec
    clock.set(taken + MAX_AGE_S - 1)
    assert camera.ask(frame(number)).state == AttackFlag.CLEAN
    clock.set(taken + MAX_AGE_S + 1)
    flag = camera.ask(frame(number))
    assert (flag.state, flag.reason.startswith("too old: taken 2.")) == (AttackFlag.UNKNOWN, True)
    # A bag that starts over, and a camera whose clock is ahead.
    clock.set(taken - 50)
    assert camera.ask(frame(number)).state == AttackFlag.CLEAN


def test_time_that_jumps_back_begins_the_alarm_anew(client: Client, camera: Camera) -> None:
    SimulatedTime(client).set(header(0).stamp.sec)
    image = clean_image(5)
    image[16:32, 24:40] = (255, 255, 0)
    assert camera.ask(image_message(5, image)).alarm == AttackFlag.ATTACK
    dropped = camera.ask(Image(header=header(6)))
    assert (dropped.state, dropped.alarm) == (AttackFlag.UNKNOWN, AttackFlag.ATTACK), "unknown is not clean"
    back = camera.ask(Image(header=header(2)))
    assert (back.state, back.alarm) == (AttackFlag.UNKNOWN, AttackFlag.UNKNOWN)
    assert camera.ask(frame(3)).alarm == AttackFlag.CLEAN


def test_a_camera_twice_as_fast_as_the_network_gets_fresh_flags_for_every_frame(
    client: Client, camera: Camera, faults: Faults
) -> None:
    SimulatedTime(client).set(header(0).stamp.sec)
    # Connecting may have cost frames as well.
    before, count = camera.ask(frame(0)), 40
    camera.flags.clear()
    faults.tell(*["slow"] * count)
    camera.stream([frame(number) for number in range(count)], SLOW_S / 2)
    assert sorted(flag.header.frame_id for flag in camera.flags) == sorted(f"camera_{n}" for n in range(count))
    processed = [flag for flag in camera.flags if flag.state == AttackFlag.CLEAN]
    dropped = [flag for flag in camera.flags if flag.state == AttackFlag.UNKNOWN]
    assert all(flag.reason.startswith("dropped: a newer frame") for flag in dropped)
    assert len(processed) >= count // 4
    assert max(flag.dropped for flag in camera.flags) == before.dropped + len(dropped)
    # How fresh that is in milliseconds is for test_cost. Here: one waits, and another may have just come for it.
    assert max(flag.received - flag.processed - flag.dropped - flag.failed for flag in processed) <= 2
    for path in faults.folder.iterdir():
        path.unlink()

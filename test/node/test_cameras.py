"""`defense_node` with several cameras over real DDS: each has its own, and none disturbs another."""

from __future__ import annotations

import array
import math
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import ParameterType, ParameterValue
from sensor_msgs.msg import CompressedImage, Image

from support.node_processes import Camera, Client, StartedNode, header, image_message, set_parameter, tiny_parameters
from support.tiny_network import clean_image
from zmask_ros.io.images.codec import encode_compressed
from zmask_ros.msg import AttackFlag

NAMESPACE = "/car"
FRONT_TOPIC = "/sensors/front/image_rect"


@pytest.fixture(scope="module")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The front camera elsewhere and raw, the rear one compressed and with a profile of its own."""
    folder = tmp_path_factory.mktemp("car")
    tiny = tiny_parameters(folder, f"{NAMESPACE}/rear/")
    own = shutil.copy(tiny["profile"], folder / "rear.zmask.safetensors")
    inputs = {f"qos_overrides.{FRONT_TOPIC}.subscription.{policy}": value for policy, value in DEEP.items()}
    front = {"front.image_topic": FRONT_TOPIC}
    rear = {"rear.image_transport": "compressed", "rear.profile": str(own)}
    return {**tiny, **inputs, **front, **rear, "cameras": ["front", "rear"], "timeout_s": 0.5}


DEEP = {"reliability": "reliable", "depth": 100}


@pytest.fixture(scope="module")
def node(parameters: dict[str, Any]) -> Iterator[StartedNode]:
    with StartedNode("defense_node", parameters, NAMESPACE) as process:
        yield process


@pytest.fixture
def front(node: StartedNode, client: Client) -> Camera:
    return Camera(client, Image, FRONT_TOPIC, "front/zmask/attack")


@pytest.fixture
def rear(node: StartedNode, client: Client) -> Camera:
    return Camera(client, CompressedImage, "rear/image_raw/compressed", "rear/zmask/attack")


def raw(number: int, height: int = 48, width: int = 64) -> Image:
    return image_message(number, clean_image(number, height, width))


def jpeg(number: int) -> CompressedImage:
    data = array.array("B", encode_compressed(clean_image(number)))
    return CompressedImage(header=header(number), format="jpeg", data=data)


def attacked(number: int, street: int | None = None) -> Image:
    image = clean_image(number if street is None else street)
    image[16:32, 24:40] = (255, 255, 0)
    return image_message(number, image)


def test_each_camera_has_its_own_topics_name_profile_and_numbers(front: Camera, rear: Camera) -> None:
    first, second = front.ask(raw(1)), rear.ask(jpeg(2))
    assert (first.camera, first.state, first.header) == ("front", AttackFlag.CLEAN, header(1))
    assert (second.camera, second.state, second.header) == ("rear", AttackFlag.CLEAN, header(2))
    assert first.profile.split("@")[0] != second.profile.split("@")[0] == "rear.zmask.safetensors"
    again = front.ask(raw(3))
    assert (again.sequence, again.processed) == (first.sequence + 1, first.processed + 1)


def test_garbage_of_one_camera_is_its_own(front: Camera, rear: Camera) -> None:
    before = rear.ask(jpeg(1))
    assert front.ask(Image(header=header(1), encoding="rgb9")).state == AttackFlag.UNKNOWN
    after = rear.ask(jpeg(2))
    assert (after.state, after.failed) == (AttackFlag.CLEAN, before.failed)


def test_the_log_says_of_each_camera_what_is_wrong_also_at_the_same_time(
    client: Client, node: StartedNode, front: Camera, rear: Camera
) -> None:
    """A line of the log is throttled by where it is in the code, and it is the same one for all cameras."""
    front.ask(Image(header=header(5), encoding="rgb7"))
    rear.ask(CompressedImage(header=header(5), format="jpeg", data=array.array("B", b"no picture")))
    for camera in ("front", "rear"):
        client.until(lambda camera=camera: f"{camera}: frame not defended" in node.output, f"the line of {camera}")


def test_two_cameras_of_different_rates_lose_no_flag(client: Client, front: Camera, rear: Camera) -> None:
    for number in range(40):
        # Of the clean images above 20, the tiny network takes two for attacks.
        front.send(image_message(number, clean_image(number % 20)))
        if number % 4 == 0:
            rear.send(jpeg(number))
    client.until(lambda: len(front.flags) >= 40 and len(rear.flags) >= 10, "all flags")
    for camera, count in ((front, 40), (rear, 10)):
        numbers = sorted(flag.sequence for flag in camera.flags)
        assert numbers == list(range(numbers[0], numbers[0] + count))
        assert camera.flags[-1].state == AttackFlag.CLEAN


def test_a_camera_may_change_its_resolution(front: Camera) -> None:
    for number, (height, width) in enumerate([(48, 64), (480, 640), (1, 1), (37, 1001)]):
        assert front.ask(raw(number, height, width)).state != AttackFlag.UNKNOWN


def test_a_huge_compressed_image_is_answered(rear: Camera) -> None:
    data = array.array("B", encode_compressed(np.full((4320, 7680, 3), 127, np.uint8)))
    assert rear.ask(CompressedImage(header=header(3), format="jpeg", data=data)).state in FLAGS


FLAGS = (AttackFlag.UNKNOWN, AttackFlag.CLEAN, AttackFlag.ATTACK)


def test_a_camera_that_falls_silent_is_said_to_be_unknown_once_and_may_come_back(
    client: Client, front: Camera, rear: Camera
) -> None:
    front.ask(raw(1))
    front.silences.clear()
    client.until(lambda: front.silences, "the flag that says so")
    (silence,) = front.silences
    assert (silence.state, silence.alarm, silence.sequence) == (AttackFlag.UNKNOWN, AttackFlag.UNKNOWN, 0)
    assert silence.reason == "no frame for 0.5 s"
    assert math.isnan(silence.score)
    arrays = client.collect(DiagnosticArray, "/diagnostics")

    def is_error() -> bool:
        statuses = arrays[-1].status if arrays else []
        return any(s.name == "defense_node: front input" and s.level == DiagnosticStatus.ERROR for s in statuses)

    client.until(is_error, "the error in diagnostics")
    assert len(front.silences) == 1
    assert front.ask(raw(2)).alarm == AttackFlag.CLEAN


def test_an_alarm_that_no_frame_confirms_is_unknown(client: Client, front: Camera) -> None:
    assert front.ask(raw(1)).alarm == AttackFlag.CLEAN
    client.until(
        lambda: front.ask(Image(header=header(2), encoding="rgb9")).alarm == AttackFlag.UNKNOWN,
        "an alarm that is given up although frames come",
    )
    assert front.ask(raw(3)).alarm == AttackFlag.CLEAN


def test_a_known_patch_is_segmented_once_and_other_cameras_know_nothing_of_it(
    client: Client, front: Camera, rear: Camera
) -> None:
    arrays = client.collect(DiagnosticArray, "/diagnostics")
    flags = [front.ask(attacked(index, street=3)) for index in range(1, 6)]
    assert {flag.state for flag in flags} == {AttackFlag.ATTACK}
    # A patch is known once three analyses in a row have seen it.
    assert all("second pass" in flag.stages for flag in flags[:3])
    assert any("second pass" not in flag.stages and flag.regions for flag in flags[3:])
    assert rear.ask(jpeg(1)).state == AttackFlag.CLEAN
    assert front.ask(raw(6)).state == AttackFlag.CLEAN

    def is_counted() -> bool:
        statuses = {s.name: s for s in arrays[-1].status} if arrays else {}
        values = statuses["defense_node: front attack"].values if statuses else []
        return any(v.key == "frames with a known patch, segmented once" and v.value != "0" for v in values)

    client.until(is_counted, "the count in diagnostics")


def test_the_alarm_is_raised_and_ends_as_the_live_parameters_say(client: Client, front: Camera, rear: Camera) -> None:
    def set_frames(name: str, value: int) -> Any:
        return set_parameter(client, name, ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value))

    assert set_frames("attack_on_frames", 2).successful
    assert set_frames("attack_off_frames", 2).successful
    try:
        assert rear.ask(jpeg(1)).alarm == AttackFlag.CLEAN
        alarms = [front.ask(message).alarm for message in (raw(1), attacked(2), attacked(3), raw(4), raw(5))]
        clean, attack = AttackFlag.CLEAN, AttackFlag.ATTACK
        assert alarms == [clean, clean, attack, attack, clean]
        flag = front.ask(attacked(6))
        assert (flag.state, flag.alarm) == (attack, clean)
        assert rear.ask(jpeg(2)).alarm == clean
        (region,) = flag.regions[:1]
        assert region.box.x_offset < 40 and region.box.x_offset + region.box.width > 24
        assert region.score > 0.0 and 0.0 < region.fraction <= flag.mask_fraction
    finally:
        assert set_frames("attack_on_frames", 0).successful
        assert set_frames("attack_off_frames", 1).successful
    for value in (-1, 1001):
        refused = set_frames("attack_on_frames", value)
        assert not refused.successful
        assert "attack_on_frames" in refused.reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cameras": ["front", "front"]}, "comes twice"),
        ({"cameras": []}, "cameras is empty"),
        ({"cameras": ["front left"]}, "no name of a camera"),
        ({"cameras": ["front"], "front.image_transport": "theora"}, "front.image_transport"),
        ({"cameras": ["front"], "front.profile": "/no/such.zmask.safetensors"}, "/no/such.zmask.safetensors"),
    ],
)
def test_bad_cameras_are_refused_in_one_sentence(
    parameters: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    with StartedNode("defense_node", {**parameters, **changes}, NAMESPACE) as process:
        assert process.wait() == 2, process.output
        assert words in process.output
        assert "Traceback" not in process.output


def test_a_parameter_that_the_node_does_not_have_is_named(client: Client, parameters: dict[str, Any]) -> None:
    misspelled = {"front.profil": "mine", "treshold": 0.5, "autostart": False}
    with StartedNode("defense_node", {**parameters, **misspelled}, NAMESPACE) as process:
        client.until(lambda: "has no parameter front.profil, treshold: " in process.output, "a warning")

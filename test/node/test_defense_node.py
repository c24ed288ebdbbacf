"""`defense_node` in a process of its own, over real DDS."""

from __future__ import annotations

import array
import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from support.node_processes import (
    RELIABLE,
    Camera,
    Client,
    StartedNode,
    header,
    image_message,
    set_parameter,
    slowdown,
    tiny_parameters,
)
from support.tiny_network import clean_image, describe, describe_with
from zmask_ros.flags.flag import profile_identity
from zmask_ros.io.images.codec import encode_compressed
from zmask_ros.msg import AttackFlag
from zmask_ros.node.parameters.spec import READ_ONLY

HEIGHT, WIDTH = 60, 88
NAMESPACE = "/front"
ALONE = "/alone"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Parameters for the tiny network with its profile, on an input that loses no frame."""
    return tiny_parameters(tmp_path_factory.mktemp("tiny"), f"{NAMESPACE}/")


@pytest.fixture(scope="module")
def node(tiny: dict[str, Any]) -> Iterator[StartedNode]:
    """The node that most tests share."""
    with StartedNode("defense_node", {**tiny, "publish_undefended": True}, NAMESPACE) as process:
        yield process


@pytest.fixture
def alone() -> Iterator[Client]:
    """A client of a namespace in which the node that most tests share does not answer."""
    client = Client(ALONE)
    yield client
    client.close()


@pytest.fixture
def camera(node: StartedNode, client: Client) -> Camera:
    return Camera(client)


def frame(number: int) -> Image:
    return image_message(number, clean_image(number, HEIGHT, WIDTH))


def set_threshold(client: Client, value: float) -> Any:
    return set_parameter(client, "threshold", ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value))


def test_a_clean_frame_is_flagged_clean(tiny: dict[str, Any], camera: Camera) -> None:
    flag = camera.ask(frame(7))
    assert (flag.state, flag.reason, flag.header) == (AttackFlag.CLEAN, "", header(7))
    assert 0.0 <= flag.score <= flag.threshold
    assert (flag.mask_fraction, flag.regions) == (0.0, [])
    assert flag.alarm == AttackFlag.CLEAN
    assert (flag.camera, flag.profile) == ("front", profile_identity(Path(tiny["profile"])))
    assert flag.stages[0] == "wait"
    assert {"decode", "network", "analysis", "resize"} <= set(flag.stages)
    assert 0.0 < sum(flag.stages_ms) <= flag.latency_ms


def test_every_frame_of_a_burst_gets_exactly_one_flag(client: Client, camera: Camera) -> None:
    count = 60
    for number in range(count):
        camera.send(frame(number))
    client.until(lambda: len(camera.flags) >= count, f"{count} flags")
    assert sorted(flag.header.frame_id for flag in camera.flags) == sorted(f"camera_{n}" for n in range(count))
    dropped = [flag for flag in camera.flags if flag.state == AttackFlag.UNKNOWN]
    assert all(flag.reason.startswith("dropped: a newer frame") for flag in dropped)
    assert next(flag for flag in camera.flags if flag.header == header(count - 1)).state == AttackFlag.CLEAN
    numbers = sorted(flag.sequence for flag in camera.flags)
    assert numbers == list(range(numbers[0], numbers[0] + count)), "the frames are not numbered one by one"
    flag = camera.ask(frame(count))
    assert flag.header == header(count), "a flag came twice"
    assert flag.received == flag.sequence == numbers[-1] + 1
    assert flag.processed + flag.dropped + flag.failed == flag.received


def broken(number: int, **fields: Any) -> Image:
    message = frame(number)
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"step": 10}, "step"),
        ({"data": array.array("B", bytes(100))}, "100"),
        ({"encoding": "rgb9"}, "rgb9"),
        ({"height": 0, "width": 0, "data": array.array("B")}, "0"),
    ],
    ids=["step", "data", "encoding", "empty"],
)
def test_a_broken_frame_is_unknown_with_the_reason(camera: Camera, fields: dict[str, Any], words: str) -> None:
    flag = camera.ask(broken(3, **fields))
    assert (flag.state, flag.header) == (AttackFlag.UNKNOWN, header(3))
    assert words in flag.reason
    assert math.isnan(flag.score)
    assert camera.ask(frame(4)).state == AttackFlag.CLEAN, "the node did not survive it"


def test_pictures_have_the_header_and_the_size_of_the_input(client: Client, camera: Camera) -> None:
    encodings = {
        "segmentation": "mono8",
        "segmentation_color": "rgb8",
        "mask": "mono8",
        "overlay": "rgb8",
        "heat": "32FC1",
        "undefended": "mono8",
    }
    pictures = {name: client.collect(Image, f"zmask/{name}") for name in encodings}
    number = 0

    def all_came() -> bool:
        nonlocal number
        number += 1
        camera.ask(frame(number))
        return all(pictures.values())

    client.until(all_came, "all pictures")
    for name, encoding in encodings.items():
        picture, pixel = pictures[name][-1], {"mono8": 1, "rgb8": 3, "32FC1": 4}[encoding]
        assert (picture.encoding, picture.height, picture.width) == (encoding, HEIGHT, WIDTH), name
        assert (picture.step, len(picture.data)) == (WIDTH * pixel, HEIGHT * WIDTH * pixel), name
        sent = int(picture.header.frame_id.removeprefix("camera_"))
        assert 0 < sent <= number, name
        assert picture.header == header(sent), name
    labels = np.frombuffer(pictures["segmentation"][-1].data, np.uint8)
    assert set(np.unique(labels)) <= {0, 1, 2}
    assert set(np.unique(np.frombuffer(pictures["mask"][-1].data, np.uint8))) <= {0, 255}


def test_camera_info_comes_with_the_header_of_the_frame(client: Client, camera: Camera) -> None:
    received = client.collect(CameraInfo, "zmask/camera_info")
    publisher = client.node.create_publisher(CameraInfo, "camera_info", RELIABLE)
    client.until(publisher.get_subscription_count, "the node's subscription to camera_info")
    number = 0

    def came() -> bool:
        nonlocal number
        number += 1
        publisher.publish(CameraInfo(header=header(999), height=HEIGHT, width=WIDTH, distortion_model="plumb_bob"))
        camera.ask(frame(number))
        return bool(received)

    client.until(came, "camera_info")
    assert received[-1].header.frame_id in {f"camera_{n}" for n in range(number + 1)}
    assert (received[-1].height, received[-1].width, received[-1].distortion_model) == (HEIGHT, WIDTH, "plumb_bob")


def test_the_threshold_can_be_changed_and_taken_back(client: Client, camera: Camera) -> None:
    before = camera.ask(frame(1))
    try:
        assert set_threshold(client, 1e-12).successful
        during = camera.ask(frame(1))
        assert (during.state, during.threshold) == (AttackFlag.ATTACK, pytest.approx(1e-12))
    finally:
        # As ros2 param set makes it of 0.
        zero = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=0)
        assert set_parameter(client, "threshold", zero).successful
    after = camera.ask(frame(1))
    assert (after.state, after.threshold) == (AttackFlag.CLEAN, before.threshold)


def test_what_cannot_change_is_refused_with_the_reason(client: Client, node: StartedNode) -> None:
    text = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="other")
    for name in ("segmenter", "profile", "device"):
        result = set_parameter(client, name, text)
        assert not result.successful
        assert name in result.reason
    for value in (-1.0, math.nan, math.inf):
        result = set_threshold(client, value)
        assert not result.successful
        assert "threshold" in result.reason


def test_parameters_are_described(client: Client, node: StartedNode) -> None:
    request = DescribeParameters.Request(names=["threshold", "image_transport", "num_threads"])
    described = client.call("defense_node/describe_parameters", DescribeParameters, request).descriptors
    threshold, transport, threads = described
    assert all(entry.description for entry in described)
    assert threshold.floating_point_range[0].from_value == 0.0
    assert (threshold.read_only, transport.read_only) == (False, True)
    assert transport.additional_constraints == f"one of raw, compressed, ffmpeg, foxglove; {READ_ONLY}"
    assert threads.integer_range[0].to_value == 1024


def test_diagnostics_tell_of_health_and_of_silence(client: Client, camera: Camera) -> None:
    arrays = client.collect(DiagnosticArray, "/diagnostics")

    def level(task: str) -> bytes | None:
        found = [status for status in arrays[-1].status if status.name == f"defense_node: {task}"] if arrays else []
        return found[0].level if found else None

    healthy = [f"front {task}" for task in ("input", "inference", "attack", "profile fit", "device", "profile")]

    def all_healthy() -> bool:
        """The frames that the tests before this one made unknown are forgotten in a few seconds."""
        camera.ask(frame(1))
        return {level(task) for task in healthy} == {DiagnosticStatus.OK}

    client.until(all_healthy, "health")
    fit = next(status for status in arrays[-1].status if status.name == "defense_node: front profile fit")
    assert "zmask fit" in fit.message, "the tiny profile is of too few frames to know, and nobody is told what to do"
    assert {status.hardware_id for status in arrays[-1].status} == {"front"}
    client.until(lambda: level("front input") == DiagnosticStatus.ERROR, "an error because no frames come")
    assert any("no frames on /front/image_raw for" in status.message for status in arrays[-1].status)


def test_time_that_jumps_back_changes_nothing_for_the_frames(camera: Camera) -> None:
    assert [camera.ask(frame(number)).state for number in (50, 51, 2, 3)] == [AttackFlag.CLEAN] * 4


def test_compressed_images(tiny: dict[str, Any], client: Client) -> None:
    def message(number: int, data: bytes) -> CompressedImage:
        return CompressedImage(header=header(number), format="jpeg", data=array.array("B", data))

    with StartedNode("defense_node", {**tiny, "image_transport": "compressed"}, NAMESPACE) as process:
        camera = Camera(client, CompressedImage, "image_raw/compressed")
        jpeg = encode_compressed(clean_image(5, HEIGHT, WIDTH))
        flag = camera.ask(message(5, jpeg))
        assert (flag.state, flag.reason, flag.header) == (AttackFlag.CLEAN, "", header(5))
        flag = camera.ask(message(6, jpeg[: len(jpeg) // 8]))
        assert (flag.state, flag.header) == (AttackFlag.UNKNOWN, header(6))
        assert flag.reason
        assert process.end()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_work_ends_it_cleanly(tmp_path: Path, alone: Client, number: signal.Signals) -> None:
    count = 30
    with StartedNode("defense_node", tiny_parameters(tmp_path, f"{ALONE}/"), ALONE) as process:
        camera = Camera(alone)
        for index in range(count):
            camera.send(image_message(index, clean_image(index, 480, 640)))
        alone.until(lambda: camera.flags, "the first flag")
        code, seconds = process.end(number)
        assert (code, "Traceback" in process.output) == (0, False), process.output
        assert seconds < 2.0 * slowdown()


def test_a_signal_during_the_start_ends_it_cleanly(tiny: dict[str, Any], client: Client) -> None:
    name = ("defense_node", "/starting")
    with StartedNode(name[0], tiny, name[1]) as process:
        client.until(
            lambda: name in client.node.get_node_names_and_namespaces(),
            "the node's name, before its network is loaded",
        )
        code, seconds = process.end()
        assert (code, "Traceback" in process.output) == (0, False), process.output
        assert seconds < 2.0 * slowdown()


def refuse(changes: dict[str, Any]) -> str:
    """The one sentence with which the node refuses to start."""
    with StartedNode("defense_node", changes, NAMESPACE) as process:
        assert process.wait() == 2, process.output
        lines = [line for line in process.output.strip().splitlines() if not line.startswith("[INFO]")]
    assert len(lines) == 1, lines
    return lines[0]


def test_a_missing_profile_is_refused_in_one_sentence(tiny: dict[str, Any]) -> None:
    assert "/no/such.zmask.safetensors" in refuse({**tiny, "profile": "/no/such.zmask.safetensors"})


def test_a_profile_of_another_network_is_refused_in_one_sentence(tiny: dict[str, Any], tmp_path: Path) -> None:
    assert "network" in refuse({**tiny, "segmenter": str(describe(tmp_path, seed=1))})


def test_a_network_that_fails_on_its_size_is_refused_in_one_sentence(tiny: dict[str, Any], tmp_path: Path) -> None:
    unet = describe_with(tmp_path, builder="support.odd_networks:UNet", arguments="", input_size="[360, 480]")
    assert "to [352, 480] or [384, 480]." in refuse({**tiny, "segmenter": unet})


def test_an_unknown_segmenter_and_a_bad_parameter_are_refused_in_one_sentence(tiny: dict[str, Any]) -> None:
    assert "no_such_network" in refuse({**tiny, "segmenter": "no_such_network"})
    assert "one of raw, compressed, ffmpeg, foxglove" in refuse({**tiny, "image_transport": "theora"})

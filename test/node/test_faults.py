"""`defense_node` with a network that fails: every frame has its flag, one camera's fault is not another's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from support.faulty_network import Faults
from support.node_processes import Camera, Client, StartedNode, header, image_message, slowdown, tiny_parameters
from support.tiny_network import clean_image
from zmask_ros.msg import AttackFlag

NAMESPACE = "/faulty"
FRONT, REAR = "front", "rear"
LOADING = "as many passes as loading takes"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faulty")


@pytest.fixture(scope="module")
def faults(folder: Path) -> Faults:
    return Faults(folder)


@pytest.fixture(scope="module")
def node(folder: Path, faults: Faults) -> Iterator[StartedNode]:
    """Two cameras with one network that does what it is told."""
    parameters = tiny_parameters(folder, f"{NAMESPACE}/{FRONT}/", f"{NAMESPACE}/{REAR}/")
    parameters |= {"segmenter": str(faults.describe(folder)), "cameras": [FRONT, REAR], "timeout_s": 60.0}
    with StartedNode("defense_node", parameters, NAMESPACE) as process:
        yield process


@pytest.fixture
def front(node: StartedNode, client: Client) -> Camera:
    return Camera(client, topic=f"{FRONT}/image_raw", attack=f"{FRONT}/zmask/attack")


@pytest.fixture
def rear(node: StartedNode, client: Client) -> Camera:
    return Camera(client, topic=f"{REAR}/image_raw", attack=f"{REAR}/zmask/attack")


def frame(number: int) -> Any:
    return image_message(number, clean_image(number))


def expect_inference_error(client: Client, words: str) -> None:
    arrays = client.collect(DiagnosticArray, "/diagnostics")

    def told() -> bool:
        statuses = [status for message in arrays for status in message.status]
        return any(
            status.name == f"defense_node: {FRONT} inference"
            and status.level == DiagnosticStatus.ERROR
            and words in status.message
            for status in statuses
        )

    client.until(told, f"an error of the inference that says {words}")


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["memory", "memory"], "OutOfMemoryError"),
        (["device", LOADING, "device"], "CUDA error"),
        (["bug"], "nobody expected this"),
        (["nan"], "not finite"),
    ],
    ids=["memory", "device", "bug", "nan"],
)
def test_a_frame_that_the_network_fails_on_is_unknown_and_the_next_is_not(
    front: Camera, faults: Faults, kinds: list[str], words: str
) -> None:
    if LOADING in kinds:
        place = kinds.index(LOADING)
        passes = faults.passes_of_loading(lambda: front.ask(frame(2)).state == AttackFlag.CLEAN)
        kinds = [*kinds[:place], *["none"] * passes, *kinds[place + 1 :]]
    faults.tell(*kinds)
    flag = front.ask(frame(3))
    assert (flag.state, flag.header) == (AttackFlag.UNKNOWN, header(3))
    assert words in flag.reason
    assert faults.left == 0
    assert front.ask(frame(4)).state == AttackFlag.CLEAN
    assert flag.failed > 0


@pytest.mark.parametrize("kind", ["memory", "device"])
def test_what_passes_when_it_is_tried_again_is_not_unknown(front: Camera, faults: Faults, kind: str) -> None:
    faults.tell(kind)
    assert front.ask(frame(3)).state == AttackFlag.CLEAN
    assert faults.left == 0


def test_while_a_profile_is_reloaded_every_frame_has_its_flag(client: Client, front: Camera, faults: Faults) -> None:
    front.ask(frame(1))
    front.flags.clear()
    faults.tell("hang")
    reload = client.node.create_client(Trigger, "defense_node/reload_profile")
    client.until(reload.service_is_ready, "the service")
    answer = reload.call_async(Trigger.Request())
    client.until(lambda: not faults.left, "the pass of the reload that hangs")
    try:
        for number in range(2, 7):
            front.send(frame(number))
        client.until(lambda: len(front.flags) == 5, "the flags")
        assert not answer.done()
    finally:
        faults.release()
    assert sorted(flag.header.stamp.nanosec for flag in front.flags) == [
        frame(n).header.stamp.nanosec for n in range(2, 7)
    ]
    assert {flag.state for flag in front.flags} == {AttackFlag.UNKNOWN}
    reasons = [flag.reason for flag in front.flags]
    dropped = sum(reason.startswith("dropped: a newer frame came") for reason in reasons)
    waited = sum(reason.startswith("the profiles have been loading anew for") for reason in reasons)
    # The last one waits for the network until that is too long; so does the first one, if it was taken before the next.
    assert (dropped, waited) in ((3, 2), (4, 1))
    client.until(answer.done, "the answer")
    assert answer.result().success, answer.result().message
    faults.hold()
    assert front.ask(frame(7)).state == AttackFlag.CLEAN


def test_errors_are_named_in_diagnostics(client: Client, front: Camera, faults: Faults) -> None:
    faults.tell("bug")
    assert front.ask(frame(3)).state == AttackFlag.UNKNOWN
    expect_inference_error(client, "nobody expected this")


def hang(client: Client, camera: Camera, faults: Faults, number: int) -> None:
    """Let the network hang in a frame of this camera."""
    faults.tell("hang")
    camera.send(frame(number))
    client.until(lambda: faults.left == 0, "the network to hang")


def test_a_network_that_hangs_is_noticed_and_comes_back(
    client: Client, front: Camera, rear: Camera, faults: Faults
) -> None:
    began = time.monotonic()
    hang(client, front, faults, 5)
    rear.send(frame(6))
    client.until(lambda: front.flags and rear.flags, "the flags of what hangs and of what waits")
    assert time.monotonic() - began < 2.0 * slowdown()
    for camera in (front, rear):
        assert camera.flags[-1].state == AttackFlag.UNKNOWN
        assert "stuck" in camera.flags[-1].reason
    expect_inference_error(client, "stuck")
    faults.release()
    front.flags.clear()
    assert front.ask(frame(7)).header == header(7), "the late result was published, too"
    assert rear.ask(frame(8)).state == AttackFlag.CLEAN
    faults.hold()


def test_a_frame_that_was_stuck_has_no_pictures(client: Client, front: Camera, faults: Faults) -> None:
    pictures = client.collect(Image, f"{FRONT}/zmask/segmentation")
    number = 10

    def connected() -> bool:
        front.ask(frame(number))
        return bool(pictures)

    client.until(connected, "a picture")
    pictures.clear()
    hang(client, front, faults, stuck := number + 1)
    client.until(lambda: any(flag.header == header(stuck) for flag in front.flags), "the flag of what hangs")
    faults.release()
    front.ask(frame(number + 2))
    client.until(lambda: any(picture.header == header(number + 2) for picture in pictures), "the next picture")
    assert header(stuck) not in [picture.header for picture in pictures]
    faults.hold()


def test_a_network_that_is_loaded_anew_is_not_called_stuck(
    client: Client, front: Camera, rear: Camera, faults: Faults
) -> None:
    # The second pass is the first one after loading.
    faults.tell("device", "hang")
    front.send(frame(13))
    client.until(lambda: faults.left == 0, "the network to be loaded anew")
    rear.send(frame(14))
    client.until(lambda: front.flags and rear.flags, "the flags of what is in work and of what waits")
    for camera in (front, rear):
        assert camera.flags[-1].state == AttackFlag.UNKNOWN
        assert camera.flags[-1].reason.startswith("the network has been loading anew after an error of the device")
    expect_inference_error(client, "loading anew")
    faults.release()
    assert front.ask(frame(15)).state == AttackFlag.CLEAN
    faults.hold()

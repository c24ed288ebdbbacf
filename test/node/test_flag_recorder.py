"""`zmask record` as users run it, over real DDS: what is in the folder while it runs, after its end, after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from rclpy.publisher import Publisher
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image

from support.bag_makers import picture
from support.node_processes import PATIENCE_S, RELIABLE, Client, header, image_message
from zmask_ros.io.bags.opening import open_bag
from zmask_ros.io.bags.reader import BagError
from zmask_ros.msg import AttackFlag

NAMESPACE = "/recorded"
ALWAYS = ("--before", "600", "--after", "600", "--sync", "0.05")


class Camera:
    """A camera and its defence, as far as a recorder sees them."""

    def __init__(self, client: Client, name: str = "") -> None:
        self.prefix = f"{name}/" if name else ""
        self._client = client
        self._images: Publisher = client.node.create_publisher(Image, f"{self.prefix}image_raw", RELIABLE)
        self._flags: Publisher = client.node.create_publisher(AttackFlag, f"{self.prefix}zmask/attack", RELIABLE)

    def wait_for_the_recorder(self) -> None:
        for publisher in (self._images, self._flags):
            self._client.until(publisher.get_subscription_count, f"a recorder of {publisher.topic_name}")

    def publish(self, numbers: range, state: int = AttackFlag.CLEAN) -> None:
        for number in numbers:
            self._images.publish(image_message(number, picture(number)))
            flag = AttackFlag(header=header(number), state=state, sequence=number + 1, received=number + 1)
            self._flags.publish(flag)

    def recorded(self, folder: Path) -> tuple[list[int], list[int]]:
        """The numbers of the flags and of the pictures in the folder, by our reader."""
        images = messages(folder, f"{NAMESPACE}/{self.prefix}image_raw")
        for message in images:
            assert np.array_equal(message.data, picture(number_of(message)).reshape(-1))
        return (
            [number_of(message) for message in messages(folder, f"{NAMESPACE}/{self.prefix}zmask/attack")],
            [number_of(message) for message in images],
        )


def number_of(message: Any) -> int:
    return int(message.header.frame_id.removeprefix("camera_"))


def messages(folder: Path, topic: str) -> list[Any]:
    """What the folder holds at this moment."""
    try:
        bag = open_bag(folder)
    except BagError:
        return []
    try:
        return [one.types.deserialize(raw) for one in bag.recordings for raw in one.messages([topic])]
    finally:
        bag.close()


@contextmanager
def recorder(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "zmask_ros.cli.main", "record", str(folder), "--namespace", NAMESPACE, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
    process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, output


def test_flags_always_and_pictures_around_an_attack(tmp_path: Path, client: Client) -> None:
    camera = Camera(client)
    with recorder(tmp_path / "out", *ALWAYS) as process:
        camera.wait_for_the_recorder()
        camera.publish(range(5))
        client.until(lambda: camera.recorded(tmp_path / "out")[0] == list(range(5)), "the flags in the file")
        assert camera.recorded(tmp_path / "out")[1] == []
        camera.publish(range(5, 6), AttackFlag.ATTACK)
        # Two topics: nobody promises that the picture comes before its flag.
        client.until(lambda: camera.recorded(tmp_path / "out") == (list(range(6)),) * 2, "the pictures before")
        camera.publish(range(6, 9), AttackFlag.UNKNOWN)
        client.until(lambda: camera.recorded(tmp_path / "out") == (list(range(9)),) * 2, "the pictures after")
        camera.publish(range(11, 12))
        client.until(lambda: camera.recorded(tmp_path / "out") == ([*range(9), 11],) * 2, "a frame after two lost ones")
        code, output = stop(process)
    assert code == 0, output
    assert "attack: pictures are recorded" in output
    assert f"{NAMESPACE}/image_raw 10, {NAMESPACE}/zmask/attack 10; 2 flags did not arrive" in output
    bag = open_bag(tmp_path / "out")
    assert [recording.damage for recording in bag.recordings] == [""]
    bag.close()


def test_flags_are_reliable_and_pictures_hold_nobody_up(tmp_path: Path, client: Client) -> None:
    camera = Camera(client)
    with recorder(tmp_path):
        camera.wait_for_the_recorder()
        offered = {
            topic: [info.qos_profile.reliability for info in client.node.get_subscriptions_info_by_topic(topic)]
            for topic in (f"{NAMESPACE}/zmask/attack", f"{NAMESPACE}/image_raw")
        }
    assert list(offered.values()) == [[ReliabilityPolicy.RELIABLE], [ReliabilityPolicy.BEST_EFFORT]]


def test_a_topic_that_nobody_publishes_is_named(tmp_path: Path, client: Client) -> None:
    camera = Camera(client)
    lines: list[str] = []
    with recorder(tmp_path, "--picture", "image_raw", "--picture", "image_row") as process:
        assert process.stdout is not None
        threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True).start()
        camera.wait_for_the_recorder()
        expected = f"nobody publishes it: {NAMESPACE}/image_row\n"
        client.until(lambda: any(line.endswith(expected) for line in lines), "a warning")
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def test_an_attack_on_one_camera_is_no_attack_on_the_other(tmp_path: Path, client: Client) -> None:
    front, rear = Camera(client, "front"), Camera(client, "rear")
    with recorder(tmp_path, *ALWAYS, "--camera", "front", "--camera", "rear") as process:
        front.wait_for_the_recorder()
        rear.wait_for_the_recorder()
        front.publish(range(3), AttackFlag.ATTACK)
        rear.publish(range(10, 14))
        client.until(lambda: front.recorded(tmp_path) == ([0, 1, 2], [0, 1, 2]), "everything of the attacked camera")
        client.until(lambda: rear.recorded(tmp_path)[0] == [10, 11, 12, 13], "the flags of the other")
        code, output = stop(process, signal.SIGINT)
    assert code == 0, output
    assert rear.recorded(tmp_path)[1] == []


def test_a_killed_recorder_leaves_what_it_has_written_and_its_successor_goes_on(tmp_path: Path, client: Client) -> None:
    camera = Camera(client)
    with recorder(tmp_path, *ALWAYS) as process:
        camera.wait_for_the_recorder()
        camera.publish(range(4), AttackFlag.ATTACK)
        client.until(lambda: camera.recorded(tmp_path) == (list(range(4)),) * 2, "the first frames in the file")
        camera.publish(range(4, 30), AttackFlag.ATTACK)
        process.kill()
        process.wait()
    flags, images = camera.recorded(tmp_path)
    assert flags == list(range(len(flags))) and len(flags) >= 4
    # Best effort: one may be lost, but none comes twice or before its time.
    assert images == sorted(set(images)) and images[:4] == [0, 1, 2, 3]
    client.until(lambda: not client.node.count_subscribers(f"{NAMESPACE}/zmask/attack"), "the end of the recorder")
    with recorder(tmp_path, *ALWAYS) as process:
        camera.wait_for_the_recorder()
        camera.publish(range(100, 103), AttackFlag.ATTACK)
        client.until(lambda: camera.recorded(tmp_path)[0] == [*flags, 100, 101, 102], "the flags of the successor")
        assert stop(process)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flags_000001.mcap", "flags_000002.mcap"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--before", "-1"), "at least 0, at most 600"),
        (("--total-mib", "300"), "300 MiB in all hold less than two files of 256 MiB."),
        (("--picture", "no//topic"), "must not contain repeated '/'"),
    ],
)
def test_a_bad_start_is_one_sentence(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    with recorder(tmp_path / "out", *options) as process:
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 2, output
    assert words in output
    assert len(output.strip().splitlines()) == 1


def test_without_ros_it_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "rclpy.py").write_text("raise ImportError('no rclpy')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "zmask_ros.cli.main", "record", str(tmp_path / "out")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "Error: zmask record needs ROS 2 and this package's messages (no rclpy): source their setup.bash first."
    )

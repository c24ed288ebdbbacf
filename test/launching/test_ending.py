"""How long `ros2 launch` of the defense takes to end beside busy neighbors, and what it leaves: docs/reliability.md."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

pytest.importorskip("launch_ros", reason="launch_ros is not installed")
if shutil.which("ros2") is None:
    pytest.skip("ros2 is not installed", allow_module_level=True)

from ament_index_python.packages import get_package_share_path
from sensor_msgs.msg import Image

from support.launched import Launched
from support.node_processes import RELIABLE, Client, image_message, tiny_parameters
from support.reliability_report import report
from support.tiny_network import clean_image
from zmask_ros.evaluation.performance.benchmark import busy_neighbors
from zmask_ros.msg import AttackFlag

ENDINGS = int(os.environ.get("ZMASK_ENDINGS", "20"))
AIM_S = 2.0
PERIOD_S = 1 / 30
# The moment of the signal, after the first flag.
LATEST_S = 2.0
NEIGHBORS = 2
# By the first number of rclpy's version: one table each.
DISTRIBUTIONS = {"7": "Jazzy", "9": "Kilted"}


def distribution() -> str:
    """The name of the ROS 2 that is used."""
    version = ElementTree.parse(get_package_share_path("rclpy") / "package.xml").findtext("version", "")
    return DISTRIBUTIONS[version.partition(".")[0]]


@pytest.fixture
def neighbors() -> Iterator[None]:
    """As many processes as this, each of which keeps a core busy."""
    with busy_neighbors(NEIGHBORS):
        yield


def seconds_until_all_ended(pids: list[int], began: float, client: Client) -> float:
    """Receive until none of these processes runs.

    Args:
        began: when they were told to end, on the monotonic clock.
    """
    open_files = [os.pidfd_open(pid) for pid in pids]
    try:
        # Readable once the process has ended.
        client.until(lambda: len(select.select(open_files, [], [], 0.0)[0]) == len(open_files), "the end")
        return time.monotonic() - began
    finally:
        for one in open_files:
            os.close(one)


def received(flags: list[AttackFlag]) -> int:
    """How many frames had reached the node when it published the last of these."""
    return max(flag.received for flag in flags)


def end_once(file: Path, end: Callable[[Launched], None], moment_s: float) -> float:
    """Launch the defense, send frames until the moment, end it; returns the seconds until all processes have ended."""
    launched = Launched("zmask_ros", "defense.launch.py", f"params_file:={file}", "namespace:=ending")
    try:
        launched.until("defends /ending/image_raw")
        with closing(Client("/ending")) as client:
            flags = client.collect(AttackFlag, "zmask/attack", RELIABLE)
            camera = client.node.create_publisher(Image, "image_raw", RELIABLE)
            sent = 0

            def send() -> None:
                nonlocal sent
                camera.publish(image_message(sent, clean_image(sent % 8)))
                sent += 1

            timer = client.node.create_timer(PERIOD_S, send)
            client.until(lambda: flags, "the first flag")
            client.receive_for(moment_s)
            pids = launched.pids()
            assert len(pids) >= 2, "the launch and its node"
            began = time.monotonic()
            end(launched)
            seconds = seconds_until_all_ended(pids, began, client)
            client.until(lambda: received(flags) == max(flag.sequence for flag in flags), "flags that are under way")
            timer.destroy()
        code, output = launched.end()
        assert "Traceback" not in output and "exit code" not in output, output
        # Launch itself does not catch SIGTERM.
        assert code in (0, -signal.SIGTERM), output
        assert launched.processes() == []
        numbers = [flag.sequence for flag in flags if flag.sequence]
        # The first flags may be lost until both sides have found each other; from there on there is one for each frame.
        assert sorted(numbers) == list(range(min(numbers), received(flags) + 1)), (
            "a frame that was received has no flag"
        )
        return seconds
    finally:
        launched.kill()


@pytest.mark.slow
def test_it_ends_in_time_beside_busy_neighbors_and_leaves_nothing(tmp_path: Path, neighbors: None) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": tiny_parameters(tmp_path, "/ending/")}}))
    moments = random.Random(1)
    taken = {
        name: [end_once(file, end, moments.uniform(0.0, LATEST_S)) for _ in range(ENDINGS)]
        for name, end in {"Ctrl-C": Launched.interrupt_all, "SIGTERM": Launched.terminate}.items()
    }
    rows = [
        (name, str(ENDINGS), *(f"{np.percentile(one, share):.2f} s" for share in (50, 99)), f"{max(one):.2f} s")
        for name, one in taken.items()
    ]
    report(f"endings on {distribution()}", ("Told by", "runs", "p50", "p99", "longest"), rows)
    assert all(np.percentile(one, 99) <= AIM_S for one in taken.values()), rows

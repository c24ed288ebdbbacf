"""How nodes end: what was begun is finished or taken away, and nothing that was promised is lost."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from support import TESTS

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image

from support.node_processes import RELIABLE, Client, StartedNode, header, image_message
from support.tiny_network import clean_image, describe, fit
from zmask_ros.demo.processes import executable
from zmask_ros.msg import AttackFlag

NAMESPACE = "/end"
# Of the frames of the burst: well above those that prove the connection.
FIRST = 1_000_000
BROKEN = """
from rclpy.node import Node
from zmask_ros.errors import ZmaskError

class Broken(Node):
    finished = False

    def __init__(self):
        super().__init__("broken")
        self.create_timer(0.01, self.fail)

    def fail(self):
        raise {error}

    def close(self):
        print("closed")
        return True
"""


@pytest.mark.parametrize("error", ["ZmaskError('The disk is full.')", "OSError(28, 'The disk is full.')"])
def test_a_failing_callback_closes_the_node_and_is_one_sentence(tmp_path: Path, error: str) -> None:
    (tmp_path / "broken.py").write_text(BROKEN.format(error=error))
    done = run_node(tmp_path, "broken:Broken")
    assert (done.returncode, done.stdout.strip()) == (2, "closed"), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "The disk is full." in done.stderr


INTERRUPTED = """
import os
import signal


class Slow:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.{signal})


class Late:
    slow = Slow()
"""


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_a_signal_while_a_class_is_made_ends_it_cleanly(tmp_path: Path, signal: str) -> None:
    """As an import makes hundreds of, before the node is there."""
    (tmp_path / "late.py").write_text(INTERRUPTED.format(signal=signal))
    done = run_node(tmp_path, "late:Late")
    assert (done.returncode, done.stderr) == (0, "")


def run_node(folder: Path, node: str) -> subprocess.CompletedProcess[str]:
    """`run` of a class in a module of ``folder``, in a process of its own."""
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", f"import sys; from zmask_ros.node.main import run; sys.exit(run('{node}'))"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


STARTING = """
import os, subprocess, sys, time
from zmask_ros.launched import environment
process = subprocess.Popen(sys.argv[1:], env=os.environ | environment())
print(process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
@pytest.mark.parametrize("once_it_runs", [False, True])
def test_a_node_ends_with_a_launch_that_is_killed(tmp_path: Path, client: Client, once_it_runs: bool) -> None:
    path = tmp_path / "bag"
    node = [executable("recorder"), "--ros-args", "-p", f"path:={path}", "-r", f"__ns:={NAMESPACE}"]
    launch = subprocess.Popen([sys.executable, "-c", STARTING, *node], stdout=subprocess.PIPE, text=True)
    with launch:
        assert launch.stdout is not None
        process = os.pidfd_open(int(launch.stdout.readline()))
        if once_it_runs:
            client.until(lambda: "recorder" in client.node.get_node_names(), "the recorder")
        launch.kill()
    client.until(lambda: select.select([process], [], [], 0.0)[0], "the end of the recorder")
    os.close(process)


def test_a_recorder_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    with StartedNode("recorder", {"path": str(tmp_path / "bag"), "last": "no//topic"}) as process:
        assert process.wait() == 2, process.output
        assert "must not contain repeated '/'" in process.output
    assert list(tmp_path.iterdir()) == []


def test_every_frame_that_arrived_before_the_end_has_its_flag(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(TESTS))
    description = describe(tmp_path)
    parameters = {
        "segmenter": str(description),
        "profile": str(fit(description)),
        "num_threads": 1,
        f"qos_overrides.{NAMESPACE}/image_raw.subscription.reliability": "reliable",
        f"qos_overrides.{NAMESPACE}/image_raw.subscription.depth": 100,
        f"qos_overrides.{NAMESPACE}/zmask/attack.publisher.depth": 100,
        "qos_overrides./diagnostics.publisher.reliability": "best_effort",
    }
    publisher = client.node.create_publisher(Image, "image_raw", RELIABLE)
    flags = client.collect(AttackFlag, "zmask/attack")
    with StartedNode("defense_node", parameters, NAMESPACE) as process:
        asked = 0

        def answered() -> bool:
            nonlocal asked
            if not flags:
                publisher.publish(Image(header=header(asked)))
                asked += 1
            return bool(flags) and flags[-1].header == header(asked - 1)

        client.until(publisher.get_subscription_count, "the node to appear")
        client.until(answered, "the last flag of the frames that prove the connection")
        diagnostics = client.node.get_publishers_info_by_topic("/diagnostics")
        assert [info.qos_profile.reliability for info in diagnostics] == [ReliabilityPolicy.BEST_EFFORT]
        for number in range(FIRST, FIRST + 30):
            publisher.publish(image_message(number, clean_image(number, 480, 640)))
        client.until(lambda: burst(flags), "a flag of the burst")
        assert process.end()[0] == 0, process.output
    # The node has waited until all its flags had arrived here.
    client.drain()
    # A frame that the node did not get to is no gap: they arrive in their order.
    assert burst(flags) == list(range(FIRST, FIRST + len(burst(flags))))
    assert max(flag.sequence for flag in flags) == max(flag.received for flag in flags)


def burst(flags: list[AttackFlag]) -> list[int]:
    """The numbers of the burst's frames that have a flag, ascending."""
    numbers = (int(flag.header.frame_id.removeprefix("camera_")) for flag in flags)
    return sorted(number for number in numbers if number >= FIRST)

"""Nodes in processes of their own, which end with the demo whatever happens."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from zmask_ros.errors import ZmaskError
from zmask_ros.resources import fast_dds_profile

# Where DDS listens: multicast port of domain 0, and the distance between two domains. Domains above 101 collide with
# the ports that the system gives to clients.
DISCOVERY_PORT, DOMAIN_PORTS, LAST_DOMAIN = 7400, 250, 101
GRACE_S = 5.0
_TAIL_LINES = 40


class DemoError(ZmaskError):
    """The demo cannot go on; the sentence says why."""


class NodeFailedError(DemoError):
    """A node ended that should be running, or did not end as it should; ``output`` is what it printed."""

    def __init__(self, sentence: str, output: str) -> None:
        super().__init__(sentence)
        self.output = output


def free_domain() -> int:
    """A ROS domain on which nobody listens on this machine.

    Raises:
        DemoError: all are taken.
    """
    domains = random.sample(range(1, LAST_DOMAIN + 1), LAST_DOMAIN)
    for domain in domains:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", DISCOVERY_PORT + DOMAIN_PORTS * domain))
            except OSError:
                continue
            return domain
    raise DemoError("All ROS domains of this machine are in use: end other ROS programs.")


def ros_environment(domain: int) -> dict[str, str]:
    """The variables that keep nodes of this machine among themselves, with shared memory that images fit into."""
    return {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        **fast_dds_profile(),
    }


def executable(name: str) -> Path:
    """The installed executable of a node.

    Raises:
        DemoError: the package is not built, or the shell does not know of it.
    """
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        path = Path(prefix) / "lib" / "zmask_ros" / name
        if prefix and path.is_file():
            return path
    raise DemoError(
        f"The node '{name}' is not built or not known to this shell: run 'make demo', "
        "or build with colcon and source install/setup.bash."
    )


class NodeProcess:
    """A node that is running; context manager that ends it.

    Args:
        program: path of the executable; its name is the node's.
        parameters: the node's, nested as in a parameter file.
        namespace: such as `/camera`.
        folder: where its parameter file and its output go, two files of its name.
    """

    def __init__(self, program: Path, parameters: dict[str, Any], namespace: str, folder: Path) -> None:
        self.name = program.name
        self._log = folder / f"{self.name}.log"
        # Every JSON file is YAML as well, and leaves no doubt about what is a number.
        settings = folder / f"{self.name}.yaml"
        settings.write_text(json.dumps({"/**": {"ros__parameters": parameters}}, indent=1))
        arguments = ["--ros-args", "-r", f"__ns:={namespace}", "--params-file", str(settings)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C goes to the demo alone, which ends the nodes in their order.
                start_new_session=True,
            )

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._log.read_text("utf-8", "replace").strip()

    def expect_running(self) -> None:
        """Make sure that it has not ended.

        Raises:
            NodeFailedError: it has.
        """
        if not self.running:
            raise self._failure(f"ended too early, with exit code {self._process.returncode}")

    def expect_end(self, limit_s: float) -> None:
        """Wait until it has ended by itself or by a signal that it was sent.

        Raises:
            NodeFailedError: it does not end, or not with exit code 0.
        """
        try:
            code = self._process.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            raise self._failure(f"did not end within {limit_s:.0f} s") from error
        if code:
            raise self._failure(f"failed with exit code {code}")

    def _failure(self, what: str) -> NodeFailedError:
        return NodeFailedError(f"{self.name} {what}.", "\n".join(self.output.splitlines()[-_TAIL_LINES:]))

    def stop(self, number: signal.Signals, limit_s: float) -> None:
        """Send a signal and wait for the end.

        Raises:
            NodeFailedError: as `expect_end`.
        """
        self._process.send_signal(number)
        self.expect_end(limit_s)

"""Nodes in processes of their own, and a node of the test that talks to them over real DDS."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from ament_index_python.packages import get_package_prefix
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from zmask_ros.world.images import encode

HERE = Path(__file__).parent
# Long, because machines are busy: nothing waits for longer than it has to.
PATIENCE_S = 120.0
RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


def header(number: int) -> Header:
    """The header of the frame with this number: the stamps are a tenth of a second apart."""
    return Header(stamp=Time(sec=100 + number // 10, nanosec=number % 10 * 100_000_000), frame_id=f"camera_{number}")


def image_message(number: int, image: np.ndarray, encoding: str = "rgb8") -> Image:
    """A sensor_msgs/Image."""
    fields = encode(image, encoding)
    message = Image(header=header(number), height=fields.height, width=fields.width, encoding=encoding)
    message.step, message.data = fields.step, fields.data
    return message


def slowdown() -> float:
    """How many times longer this machine takes now because it is busy with other work; 1 when it is not."""
    began, worked = time.monotonic(), time.process_time()
    while time.process_time() - worked < 0.2:
        pass
    return max(1.0, (time.monotonic() - began) / 0.2)


class NodeProcess:
    """One of the installed executables, running. What it prints goes into a file, so that no pipe can fill up."""

    def __init__(self, executable: str, parameters: dict[str, Any], namespace: str = "/") -> None:
        program = f"{get_package_prefix('zmask_ros')}/lib/zmask_ros/{executable}"
        arguments = [program, "--ros-args", "-r", f"__ns:={namespace}"]
        for name, value in parameters.items():
            written = str(value).lower() if isinstance(value, bool) else value
            arguments += ["-p", f"{name}:={written}"]
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115
        path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            arguments,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if error is not None:
            print(self.output)

    @property
    def output(self) -> str:
        """Everything that it has printed so far."""
        self._output.seek(0)
        return self._output.read()

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait(timeout_s)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; returns the exit code and the seconds that the end took."""
        began = time.monotonic()
        self._process.send_signal(number)
        return self.wait(), time.monotonic() - began


class Client:
    """A node of the test. Nothing is received but while it waits for something."""

    def __init__(self, namespace: str) -> None:
        self._context = rclpy.Context()
        self._context.init()
        self.node = rclpy.create_node("client", namespace=namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.shutdown()

    def until(self, condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> None:
        """Receive until the condition is true; fails when that takes too long."""
        deadline = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < deadline, f"waited {patience_s:.0f} s for {what}"
            self._executor.spin_once(timeout_sec=0.02)

    def collect(self, kind: type, topic: str) -> list[Any]:
        """A list that everything published on the topic is appended to."""
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, RELIABLE)
        return received

    def call(self, service: str, kind: type, request: Any) -> Any:
        """Call a service and wait for its answer."""
        client = self.node.create_client(kind, service)
        self.until(client.service_is_ready, service)
        future = client.call_async(request)
        self.until(future.done, f"an answer of {service}")
        return future.result()

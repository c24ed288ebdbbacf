"""Nodes in processes of their own, and a node of the test that talks to them over real DDS."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor, TimeoutException
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from support import TESTS
from support.tiny_network import describe, fit
from zmask_ros.demo.processes import NodeProcess, executable
from zmask_ros.flags.topics import TRANSPORTS
from zmask_ros.io.images.codec import encode
from zmask_ros.msg import AttackFlag

# Long, because machines are busy: nothing waits for longer than it has to.
PATIENCE_S = 120.0
# Much longer than any answer takes.
ASK_AGAIN_S = 10.0
DEEP_INPUT = {"subscription.reliability": "reliable", "subscription.depth": 100}
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


# For latched topics.
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class StartedNode(NodeProcess):
    """One of the installed executables, running; it can import the tiny network, and is killed at the end."""

    def __init__(self, name: str, parameters: dict[str, Any], namespace: str = "/") -> None:
        self._folder = tempfile.TemporaryDirectory()
        path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", path)
            patch.setenv("OMP_NUM_THREADS", "1")
            super().__init__(executable(name), parameters, namespace, Path(self._folder.name))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        if kind is not None:
            print(self.output)
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait(timeout_s)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
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
        self._services: dict[str, Any] = {}

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

    def drain(self) -> None:
        """Receive all that has arrived."""
        received = True
        while received:
            received = False
            # Raised as well once it has given one message of each topic.
            with suppress(TimeoutException):
                while True:
                    handler, *_ = self._executor.wait_for_ready_callbacks(timeout_sec=0.0)
                    handler()
                    received = True

    def receive_for(self, seconds: float) -> None:
        """Receive for so long, to the millisecond: a camera's frames come evenly."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def collect(self, kind: type, topic: str, qos: QoSProfile = RELIABLE) -> list[Any]:
        """A list that everything published on the topic is appended to."""
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, qos)
        return received

    def call(self, service: str, kind: type, request: Any, repeatable: bool = True) -> Any:
        """Call a service and wait for its answer.

        A server that has not yet discovered the client's side drops its answer: what may be asked twice is asked again.
        """
        if service not in self._services:
            self._services[service] = self.node.create_client(kind, service)
        client = self._services[service]
        self.until(client.service_is_ready, service)
        futures, asked = [client.call_async(request)], time.monotonic()

        def answered() -> bool:
            nonlocal asked
            if repeatable and time.monotonic() - asked > ASK_AGAIN_S:
                futures.append(client.call_async(request))
                asked = time.monotonic()
            return any(future.done() for future in futures)

        self.until(answered, f"an answer of {service}")
        return next(future.result() for future in futures if future.done())


class Camera:
    """Publishes frames to the node and receives its flags; those without a frame apart, in ``silences``."""

    def __init__(
        self, client: Client, kind: type = Image, topic: str = "image_raw", attack: str = "zmask/attack"
    ) -> None:
        self._client = client
        self._publisher = client.node.create_publisher(kind, topic, RELIABLE)
        self.flags: list[AttackFlag] = []
        self.silences: list[AttackFlag] = []
        client.node.create_subscription(AttackFlag, attack, self._flag_arrived, RELIABLE)
        client.until(
            lambda: self._publisher.get_subscription_count() and client.node.count_publishers(attack),
            "the node to appear",
        )
        self._prove_the_connection(kind)

    def _prove_the_connection(self, kind: type) -> None:
        """Discovery is not symmetric: frames are sent until the first flag comes, and until the last one has come."""
        sent = 0

        def answered() -> bool:
            nonlocal sent
            if not self.flags:
                self._publisher.publish(kind(header=header(sent)))
                sent += 1
            return bool(self.flags) and self.flags[-1].header == header(sent - 1)

        self._client.until(answered, "the first flag")
        self.flags.clear()

    def _flag_arrived(self, flag: AttackFlag) -> None:
        (self.flags if flag.sequence else self.silences).append(flag)

    def send(self, message: Any) -> None:
        self._publisher.publish(message)

    def stream(self, messages: Iterable[Any], period_s: float) -> None:
        """Send a frame each ``period_s``, and wait until there are as many flags."""
        due, sent = time.monotonic(), 0
        for message in messages:
            self._client.receive_for(due - time.monotonic())
            self.send(message)
            due, sent = due + period_s, sent + 1
        self._client.until(lambda: len(self.flags) >= sent, f"{sent} flags")

    def ask(self, message: Any) -> AttackFlag:
        """Send a frame and wait for its flag."""
        self.flags.clear()
        self.send(message)
        self._client.until(lambda: self.flags, f"the flag of {message.header.frame_id}")
        return self.flags[-1]


def set_parameter(client: Client, name: str, value: ParameterValue) -> Any:
    """Set a parameter of defense_node; the result has the reason of a refusal."""
    request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
    return client.call("defense_node/set_parameters", SetParameters, request).results[0]


def tiny_parameters(folder: Path, *prefixes: str) -> dict[str, Any]:
    """Parameters for the tiny network with its profile, on inputs that lose no frame.

    Args:
        prefixes: absolute, of the cameras' topics, such as ``/front/``.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TESTS))
        description = describe(folder)
        profile = fit(description)
    inputs = deep_inputs(*prefixes)
    return {"segmenter": str(description), "profile": str(profile), "device": "cpu", "num_threads": 1, **inputs}


def deep_inputs(*prefixes: str) -> dict[str, Any]:
    """Parameters for inputs that lose no frame.

    Args:
        prefixes: absolute, of the cameras' topics, such as ``/front/``.
    """
    return {
        f"qos_overrides.{prefix}{topic}.{policy}": value
        for prefix in prefixes
        for topic in ("image_raw", "camera_info", *(f"image_raw/{transport}" for transport in TRANSPORTS))
        for policy, value in DEEP_INPUT.items()
    }

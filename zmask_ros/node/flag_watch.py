"""Follows a camera's attack flags from a program that is no node itself, such as `zmask demo`."""

from __future__ import annotations

from types import TracebackType

import rclpy
from rclpy.executors import SingleThreadedExecutor

from zmask_ros.msg import AttackFlag
from zmask_ros.node.qos import FLAG_OUT


class FlagWatch:
    """Context manager; nothing is received but while `receive` waits."""

    def __init__(self, namespace: str) -> None:
        self._context = rclpy.Context()
        self._received: list[AttackFlag] = []
        self._namespace = namespace

    def __enter__(self) -> FlagWatch:
        self._context.init()
        self._node = rclpy.create_node("flag_watch", namespace=self._namespace, context=self._context)
        self._node.create_subscription(AttackFlag, "zmask/attack", self._received.append, FLAG_OUT)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.shutdown()

    def receive(self, timeout_s: float) -> list[AttackFlag]:
        """The flags that came since the last call; waits for the first one, but not longer than ``timeout_s``."""
        self._executor.spin_once(timeout_sec=timeout_s)
        received = list(self._received)
        self._received.clear()
        return received

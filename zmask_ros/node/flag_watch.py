"""Follows a camera's attack flags from a program that is no node itself, such as `zmask demo`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import SingleThreadedExecutor

from zmask_ros.msg import AttackFlag
from zmask_ros.node.qos import FLAG_OUT


@contextmanager
def follow_flags(namespace: str) -> Iterator[Callable[[float], list[AttackFlag]]]:
    """Subscribe to the flags of the camera in ``namespace``.

    Yields:
        What returns the flags that came since its last call; it waits for the first one, but not longer than the
        seconds that it is called with. Nothing is received at other times.
    """
    context = rclpy.Context()
    context.init()
    node = rclpy.create_node("flag_watch", namespace=namespace, context=context)
    flags: list[AttackFlag] = []
    node.create_subscription(AttackFlag, "zmask/attack", flags.append, FLAG_OUT)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def receive(timeout_s: float) -> list[AttackFlag]:
        executor.spin_once(timeout_sec=timeout_s)
        received = list(flags)
        flags.clear()
        return received

    try:
        yield receive
    finally:
        executor.shutdown()
        node.destroy_node()
        context.shutdown()

"""Asks a running `defense_node` to read its profiles again, from a program that is no node itself: `zmask reload`."""

from __future__ import annotations

import time

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Future
from std_srvs.srv import Trigger

from zmask_ros.errors import ZmaskError

ASK_AGAIN_S = 10.0
"""A node that has not yet discovered who asks drops its answer; to load twice does no harm."""


def reload_profiles(node: str, patience_s: float) -> str:
    """Have the profiles of a running node read again, and wait for it.

    Args:
        node: full name, such as /front/defense_node.
        patience_s: how long to wait for the node, and then for its answer, in seconds.

    Returns:
        The profile of each camera now.

    Raises:
        ZmaskError: there is no such node, it does not answer, or it refuses.
    """
    context = rclpy.Context()
    context.init()
    own = rclpy.create_node("zmask_reload", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(own)
    try:
        client = own.create_client(Trigger, f"{node}/reload_profile")
        if not client.wait_for_service(patience_s):
            raise ZmaskError(f"There is no node {node} here: name its --namespace, and use its ROS_DOMAIN_ID.")
        asked: list[Future] = []
        until_s = time.monotonic() + patience_s
        while not any(answer.done() for answer in asked):
            left_s = until_s - time.monotonic()
            if left_s <= 0.0:
                raise ZmaskError(f"{node} did not answer within {patience_s:g} s: see its log.")
            asked.append(client.call_async(Trigger.Request()))
            executor.spin_until_future_complete(asked[-1], min(left_s, ASK_AGAIN_S))
        response = next(answer.result() for answer in asked if answer.done())
    finally:
        executor.shutdown()
        own.destroy_node()
        context.shutdown()
    if not response.success:
        raise ZmaskError(f"{node} keeps the profiles that it had: {response.message}")
    return str(response.message)

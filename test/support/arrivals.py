"""Frames of several cameras as the node receives them, without ROS."""

from __future__ import annotations

from types import SimpleNamespace

from zmask_ros.node.mailbox import Arrival


def arrival(camera: str = "front", seconds: float = 0.0) -> Arrival:
    """A frame of a camera, with ``seconds`` for its stamp; there is no image in it."""
    whole = int(seconds)
    stamp = SimpleNamespace(sec=whole, nanosec=round((seconds - whole) * 1e9))
    return Arrival(SimpleNamespace(header=SimpleNamespace(stamp=stamp)), camera)

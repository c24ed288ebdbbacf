"""The stamps of ROS headers as one number."""

from __future__ import annotations

from typing import Any

NANOSECONDS = 1_000_000_000


def stamp_ns(header: Any) -> int:
    """The stamp of a std_msgs/Header in nanoseconds, whichever library made the message."""
    return int(header.stamp.sec) * NANOSECONDS + int(header.stamp.nanosec)

"""Flags out of a bag, read by nothing of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader


def read_flags(bag: Path, topic: str) -> list[Any]:
    """The `zmask_ros/AttackFlag` messages on ``topic``, in the order of the bag."""
    with AnyReader([bag]) as reader:
        chosen = [connection for connection in reader.connections if connection.topic == topic]
        return [reader.deserialize(data, one.msgtype) for one, _, data in reader.messages(connections=chosen)]

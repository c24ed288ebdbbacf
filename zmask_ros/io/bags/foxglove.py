"""Foxglove's messages with pictures, in whatever serialization, as messages of ROS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zmask_ros.io.bags.writer import COMPRESSED_IMAGE, IMAGE, header_message, message_class
from zmask_ros.io.images.checks import bytes_of
from zmask_ros.io.stamps import NANOSECONDS


def foxglove_header(message: Any) -> Any:
    """The stamp and the frame of a message of Foxglove's as a `std_msgs/Header`.

    Fields are spelled as in ROS or in JSON (sec, nsec or nanosec), or as in protobuf (seconds, nanos).
    """
    time = message.timestamp
    names = ("seconds", "nanos") if hasattr(time, "nanos") else ("sec", "nsec" if hasattr(time, "nsec") else "nanosec")
    seconds, nanoseconds = (int(getattr(time, name)) for name in names)
    return header_message(seconds * NANOSECONDS + nanoseconds, message.frame_id)


def _raw_image(message: Any) -> Any:
    fields = {name: getattr(message, name) for name in ("height", "width", "encoding", "step")}
    header, data = foxglove_header(message), bytes_of(message.data)
    return message_class(IMAGE)(header=header, is_bigendian=0, data=data, **fields)


def _compressed_image(message: Any) -> Any:
    header, data = foxglove_header(message), bytes_of(message.data)
    return message_class(COMPRESSED_IMAGE)(header=header, format=message.format, data=data)


AS_ROS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "RawImage": (IMAGE, _raw_image),
    "CompressedImage": (COMPRESSED_IMAGE, _compressed_image),
}
"""By the name of the type in its package: the type of ROS that holds the same, and what makes it."""

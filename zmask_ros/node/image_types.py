"""The message types of image_transport's transports; those of video come in packages of their own."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from zmask_ros.errors import ZmaskError

VIDEO_TRANSPORTS = ("ffmpeg", "foxglove")
_TYPES = {
    "raw": ("sensor_msgs", "Image"),
    "compressed": ("sensor_msgs", "CompressedImage"),
    "ffmpeg": ("ffmpeg_image_transport_msgs", "FFMPEGPacket"),
    "foxglove": ("foxglove_msgs", "CompressedVideo"),
}


def image_type(transport: str) -> Any:
    """The class of the messages.

    Raises:
        ZmaskError: its package is not installed.
    """
    package, name = _TYPES[transport]
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except ImportError as error:
        raise ZmaskError(
            f"image_transport '{transport}' needs the package {package}, which cannot be imported ({error}): install "
            f"ros-$ROS_DISTRO-{package.replace('_', '-')}, or build it into the workspace."
        ) from error

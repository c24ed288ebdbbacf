"""The cameras of `defense_node`, read from its parameters: the name, topics and profile of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zmask_ros.flags.flag import camera_name
from zmask_ros.node.parameters.defense_node import CameraParameters, DefenseParameters
from zmask_ros.node.parameters.spec import ParameterError, declare

if TYPE_CHECKING:
    from rclpy.node import Node

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class CameraSettings:
    """One camera.

    Attributes:
        name: in flags and diagnostics.
        prefix: of its topics: its name and a slash, or nothing for the only camera of a namespace.
        image_topic: without what the transport puts behind it.
        transport: of image_transport: one of `IMAGE_TRANSPORTS`.
        profile: path; empty for the segmenter's shipped one.
        significant_bits: of 16-bit images, as `zmask_ros.io.images.codec.decode` takes them.
    """

    name: str
    prefix: str
    image_topic: str
    transport: str
    profile: str
    significant_bits: int

    @property
    def subscribed_topic(self) -> str:
        """Where its images come from."""
        return self.image_topic if self.transport == "raw" else f"{self.image_topic}/{self.transport}"

    @property
    def camera_info_topic(self) -> str:
        """Where its camera_info comes from: the same namespace as the images."""
        return f"{self.image_topic[: self.image_topic.rfind('/') + 1]}camera_info"


def read_cameras(node: Node, parameters: DefenseParameters) -> list[CameraSettings]:
    """The cameras that the parameters name; declares those of each.

    Raises:
        ParameterError: a name that is none or comes twice, or a camera's own parameter that is wrong.
    """
    if parameters.cameras == [""]:
        name = parameters.camera_name
        return [
            CameraSettings(
                name or camera_name(node.get_namespace()),
                "",
                "image_raw",
                parameters.image_transport,
                parameters.profile,
                parameters.significant_bits,
            )
        ]
    cameras = []
    for name in parameters.cameras:
        if not NAME.fullmatch(name):
            raise ParameterError(
                f"Parameter cameras: '{name}' is no name of a camera: letters, digits and _, a letter first."
            )
        if parameters.cameras.count(name) > 1:
            raise ParameterError(f"Parameter cameras: '{name}' comes twice.")
        specific = declare(node, CameraParameters, f"{name}.")
        topic, profile = specific.image_topic or f"{name}/image_raw", specific.profile or parameters.profile
        transport = specific.image_transport or parameters.image_transport
        bits = specific.significant_bits or parameters.significant_bits
        cameras.append(CameraSettings(name, f"{name}/", topic, transport, profile, bits))
    if not parameters.cameras:
        raise ParameterError("Parameter cameras is empty: name one camera at least, or leave it out.")
    return cameras

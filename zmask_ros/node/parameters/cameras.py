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
CAMERA_INFO = "camera_info"


@dataclass(frozen=True)
class CameraSettings:
    """One camera.

    Attributes:
        name: in flags and diagnostics.
        prefix: of its topics: its name and a slash, or nothing for the only camera of a namespace.
        image_topic: without /compressed.
        compressed: whether it sends CompressedImage.
        profile: path; empty for the segmenter's shipped one.
    """

    name: str
    prefix: str
    image_topic: str
    compressed: bool
    profile: str

    @property
    def subscribed_topic(self) -> str:
        """Where its images come from."""
        return f"{self.image_topic}/compressed" if self.compressed else self.image_topic

    @property
    def camera_info_topic(self) -> str:
        """Where its camera_info comes from: the same namespace as the images."""
        folder, slash, _ = self.image_topic.rpartition("/")
        return f"{folder}{slash}{CAMERA_INFO}"


def read_cameras(node: Node, parameters: DefenseParameters) -> list[CameraSettings]:
    """The cameras that the parameters name; declares those of each.

    Raises:
        ParameterError: a name that is none or comes twice, or a camera's own parameter that is wrong.
    """
    if parameters.cameras == [""]:
        return [_only_camera(node, parameters)]
    for name in parameters.cameras:
        if not NAME.fullmatch(name):
            raise ParameterError(
                f"Parameter cameras: '{name}' is no name of a camera: letters, digits and _, a letter first."
            )
        if parameters.cameras.count(name) > 1:
            raise ParameterError(f"Parameter cameras: '{name}' comes twice.")
    if not parameters.cameras:
        raise ParameterError("Parameter cameras is empty: name one camera at least, or leave it out.")
    return [_one_of_many(node, parameters, name) for name in parameters.cameras]


def _only_camera(node: Node, parameters: DefenseParameters) -> CameraSettings:
    return CameraSettings(
        name=parameters.camera_name or camera_name(node.get_namespace()),
        prefix="",
        image_topic="image_raw",
        compressed=parameters.image_transport == "compressed",
        profile=parameters.profile,
    )


def _one_of_many(node: Node, parameters: DefenseParameters, name: str) -> CameraSettings:
    specific = declare(node, CameraParameters, f"{name}.")
    return CameraSettings(
        name=name,
        prefix=f"{name}/",
        image_topic=specific.image_topic or f"{name}/image_raw",
        compressed=(specific.image_transport or parameters.image_transport) == "compressed",
        profile=specific.profile or parameters.profile,
    )

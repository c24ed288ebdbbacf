"""Everything that `defense_node` publishes about a frame. Pictures are only encoded when somebody subscribes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from zmask_ros.msg import AttackFlag
from zmask_ros.node.messages import image_message
from zmask_ros.node.qos import FLAG_OUT, IMAGE_OUT, LABEL_INFO_OUT, overridable
from zmask_ros.world.pictures import colourise, overlay

if TYPE_CHECKING:
    from zmask_ros.camera import CameraResult, Pictures
    from zmask_ros.segmenters import ClassInfo

    # What makes a picture of a result, and the picture's encoding.
    Drawing = Callable[[CameraResult, Pictures], tuple[np.ndarray, str]]


class Outputs:
    """The publishers of one camera."""

    def __init__(self, node: Node, palette: np.ndarray, with_undefended: bool) -> None:
        self._node = node
        self._palette = palette
        self._attack = self._create(AttackFlag, "zmask/attack", FLAG_OUT)
        self._camera_info = self._create(CameraInfo, "zmask/camera_info", IMAGE_OUT)
        self._pictures = {
            self._create(Image, f"zmask/{name}", IMAGE_OUT): draw for name, draw in self._drawings(with_undefended)
        }

    def _create(self, kind: type, topic: str, qos: Any) -> Publisher:
        return self._node.create_publisher(kind, topic, qos, qos_overriding_options=overridable())

    def _drawings(self, with_undefended: bool) -> list[tuple[str, Drawing]]:
        """(topic below zmask/, what makes the picture and its encoding)."""
        drawings: list[tuple[str, Drawing]] = [
            ("segmentation", lambda _, pictures: (pictures.labels, "mono8")),
            ("segmentation_color", lambda _, pictures: (colourise(pictures.labels, self._palette), "rgb8")),
            ("mask", lambda _, pictures: (pictures.mask, "mono8")),
            ("overlay", self._overlay),
            ("heat", lambda _, pictures: (pictures.heat, "32FC1")),
        ]
        if with_undefended:
            drawings.append(("undefended", lambda _, pictures: (pictures.undefended, "mono8")))
        return drawings

    def _overlay(self, result: CameraResult, pictures: Pictures) -> tuple[np.ndarray, str]:
        labels = colourise(pictures.labels, self._palette)
        drawn = overlay(pictures.image, labels, pictures.mask, result.score, result.threshold, result.state.value)
        return drawn, "rgb8"

    def publish_flag(self, flag: AttackFlag) -> None:
        """Publish a flag: exactly once for every frame that arrived."""
        self._attack.publish(flag)

    def publish_pictures(self, header: Header, result: CameraResult, camera_info: CameraInfo | None) -> None:
        """Publish what is subscribed to, everything with the header of the input; nothing of an unknown frame."""
        if camera_info is not None and self._camera_info.get_subscription_count():
            camera_info.header = header
            self._camera_info.publish(camera_info)
        if result.pictures is None:
            return
        for publisher, draw in self._pictures.items():
            if publisher.get_subscription_count():
                publisher.publish(image_message(header, *draw(result, result.pictures)))


def publish_label_info(node: Node, classes: tuple[ClassInfo, ...]) -> Publisher | None:
    """Publish the names of the classes on zmask/label_info, for everybody who comes later as well.

    Returns:
        The publisher, which has to be kept; None where vision_msgs is not installed.
    """
    try:
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:
        return None
    publisher = node.create_publisher(LabelInfo, "zmask/label_info", LABEL_INFO_OUT)
    message = LabelInfo()
    message.header.stamp = node.get_clock().now().to_msg()
    message.class_map = [VisionClass(class_id=index, class_name=entry.name) for index, entry in enumerate(classes)]
    publisher.publish(message)
    return publisher

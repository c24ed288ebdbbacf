"""Everything that `defense_node` publishes about a frame. Pictures are only encoded when somebody subscribes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from zmask_ros.msg import AttackFlag
from zmask_ros.node.messages import image_message
from zmask_ros.node.qos import FLAG_OUT, IMAGE_OUT, LABEL_INFO_OUT, overridable
from zmask_ros.outputs import ATTACK_TOPIC, CAMERA_INFO_TOPIC, LABEL_INFO_TOPIC, PICTURE_TOPICS, UNDEFENDED

if TYPE_CHECKING:
    from zmask_ros.camera import CameraResult
    from zmask_ros.segmenters import ClassInfo


class Outputs:
    """The publishers of one camera."""

    def __init__(self, node: Node, palette: np.ndarray, with_undefended: bool) -> None:
        self._node = node
        self._palette = palette
        self._attack = self._create(AttackFlag, ATTACK_TOPIC, FLAG_OUT)
        self._camera_info = self._create(CameraInfo, CAMERA_INFO_TOPIC, IMAGE_OUT)
        topics = (*PICTURE_TOPICS, UNDEFENDED) if with_undefended else PICTURE_TOPICS
        self._pictures = [(topic, self._create(Image, topic.name, IMAGE_OUT)) for topic in topics]

    def _create(self, kind: type, topic: str, qos: Any) -> Publisher:
        return self._node.create_publisher(kind, topic, qos, qos_overriding_options=overridable())

    def publish_flag(self, flag: AttackFlag) -> None:
        """Publish a flag: exactly once for every frame that arrived."""
        self._attack.publish(flag)

    def wait_for_flags(self, timeout_s: float) -> None:
        """Until every reliable subscriber has the flags: a publisher that is destroyed does not wait for them."""
        self._attack.wait_for_all_acked(Duration(seconds=timeout_s))

    def publish_pictures(self, header: Header, result: CameraResult, camera_info: CameraInfo | None) -> None:
        """Publish what is subscribed to, everything with the header of the input; nothing of an unknown frame."""
        if camera_info is not None and self._camera_info.get_subscription_count():
            camera_info.header = header
            self._camera_info.publish(camera_info)
        if result.pictures is None:
            return
        for topic, publisher in self._pictures:
            if publisher.get_subscription_count():
                picture = topic.draw(result, result.pictures, self._palette)
                publisher.publish(image_message(header, picture, topic.encoding))


def publish_label_info(node: Node, classes: tuple[ClassInfo, ...]) -> Publisher | None:
    """Publish the names of the classes on zmask/label_info, for everybody who comes later as well.

    Returns:
        The publisher, which has to be kept; None where vision_msgs is not installed.
    """
    try:
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:
        return None
    publisher = node.create_publisher(LabelInfo, LABEL_INFO_TOPIC, LABEL_INFO_OUT, qos_overriding_options=overridable())
    message = LabelInfo()
    message.header.stamp = node.get_clock().now().to_msg()
    message.class_map = [VisionClass(class_id=index, class_name=entry.name) for index, entry in enumerate(classes)]
    publisher.publish(message)
    return publisher

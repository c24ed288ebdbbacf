"""What `defense_node` publishes about a camera. Pictures are only encoded when somebody subscribes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from zmask_ros.flags.topics import ATTACK_TOPIC, CAMERA_INFO_TOPIC, DETECTIONS_TOPIC, LABEL_INFO_TOPIC, SUMMARY_TOPIC
from zmask_ros.msg import AttackFlag, AttackSummary
from zmask_ros.node.messages import detections_message, image_message
from zmask_ros.node.qos import FLAG_OUT, IMAGE_OUT, LABEL_INFO_OUT, SUMMARY_OUT, create_publisher
from zmask_ros.runtime.picture_topics import PICTURE_TOPICS, UNDEFENDED

if TYPE_CHECKING:
    from zmask_ros.runtime.camera import CameraResult


class CameraPublishers:
    """The publishers of one camera.

    Args:
        node: theirs.
        prefix: of the topics.
        palette: uint8 [256, 3] RGB.
        with_undefended: whether the labels without the defense are published, too.
    """

    def __init__(self, node: Node, prefix: str, palette: np.ndarray, with_undefended: bool) -> None:
        self._node = node
        self._prefix = prefix
        self._palette = palette
        self._publishers: list[Publisher] = []
        self._attack = self._create(AttackFlag, ATTACK_TOPIC, FLAG_OUT)
        self._summary = self._create(AttackSummary, SUMMARY_TOPIC, SUMMARY_OUT)
        self._detections = self._create_detections()
        self._camera_info = self._create(CameraInfo, CAMERA_INFO_TOPIC, IMAGE_OUT)
        topics = (*PICTURE_TOPICS, UNDEFENDED) if with_undefended else PICTURE_TOPICS
        self._pictures = [(topic, self._create(Image, topic.name, IMAGE_OUT)) for topic in topics]

    def _create(self, kind: type, topic: str, qos: QoSProfile) -> Publisher:
        publisher = create_publisher(self._node, kind, self._prefix + topic, qos)
        self._publishers.append(publisher)
        return publisher

    def _create_detections(self) -> Publisher | None:
        try:
            from vision_msgs.msg import Detection2DArray
        except ImportError:
            return None
        return self._create(Detection2DArray, DETECTIONS_TOPIC, FLAG_OUT)

    def destroy(self) -> None:
        """Take all publishers away."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)
        self._publishers.clear()

    def publish_flag(self, flag: AttackFlag) -> None:
        """Publish a flag: exactly once for every frame that arrived."""
        self._attack.publish(flag)
        if self._detections is not None and self._detections.get_subscription_count():
            self._detections.publish(detections_message(flag))

    def publish_summary(self, summary: AttackSummary) -> None:
        """Publish the state of the camera; late subscribers get it as well."""
        self._summary.publish(summary)

    def publish_label_info(self, classes: Iterable[str]) -> None:
        """Publish the names of the classes, for late subscribers as well; nothing where vision_msgs is missing."""
        try:
            from vision_msgs.msg import LabelInfo, VisionClass
        except ImportError:
            return
        message = LabelInfo()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.class_map = [VisionClass(class_id=index, class_name=name) for index, name in enumerate(classes)]
        self._create(LabelInfo, LABEL_INFO_TOPIC, LABEL_INFO_OUT).publish(message)

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

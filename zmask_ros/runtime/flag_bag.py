"""The bag that `zmask replay` writes: the node's topics for each frame, with the stamps of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zmask_ros.flags.flag import Flag
from zmask_ros.flags.topics import ATTACK_FLAG, ATTACK_REGION, ATTACK_TOPIC, CAMERA_INFO_TOPIC, IMAGE_TOPIC
from zmask_ros.io.bags.camera_info import CameraInfoFields, RegionFields
from zmask_ros.io.bags.reader import StampedMessage
from zmask_ros.io.bags.writer import BagWriter, header_message, message_class, region_message
from zmask_ros.io.images.video_stream.messages import VideoPicture
from zmask_ros.io.stamps import stamp_ns
from zmask_ros.runtime.camera import CameraResult
from zmask_ros.runtime.picture_topics import PICTURE_TOPICS, UNDEFENDED


def flag_message(flag: Flag, stamp_ns: int, frame_id: str) -> Any:
    """A flag as the `zmask_ros/AttackFlag` that a bag takes, with the header of its frame."""
    regions = [
        message_class(ATTACK_REGION)(
            box=region_message(RegionFields(region.x, region.y, region.width, region.height)),
            score=region.score,
            fraction=region.fraction,
        )
        for region in flag.regions
    ]
    fields = flag.message_fields()
    fields["stages_ms"] = np.array(fields["stages_ms"], np.float32)
    return message_class(ATTACK_FLAG)(header=header_message(stamp_ns, frame_id), regions=regions, **fields)


@dataclass
class FlagBag:
    """Writes what the node would publish for each frame, and the frame itself.

    Attributes:
        bag: where to.
        namespace: of the camera's topics.
        palette: uint8 [256, 3] RGB, the colors of the labels.
        camera_info: goes with each frame until the input has another one; None if it is not known.
    """

    bag: BagWriter
    namespace: str
    palette: np.ndarray
    camera_info: CameraInfoFields | None

    def write(self, message: StampedMessage, result: CameraResult, flag: Flag) -> None:
        """Write all topics of one frame; the pictures only if something is known of it. Video becomes images.

        Raises:
            BagError: the bag cannot be written any further.
        """
        header, received = message.message.header, message.received_ns
        stamp, frame_id = stamp_ns(header), header.frame_id
        if not isinstance(message.message, VideoPicture):
            self.bag.write_message(message.topic, message.msgtype, message.message, received)
        elif message.message.image is not None:
            # Nobody could look at packets of which the first ones, or every second one, are not there.
            self.bag.write_image(self._topic(IMAGE_TOPIC), message.message.image, "rgb8", stamp, frame_id, received)
        self.bag.write_message(self._topic(ATTACK_TOPIC), ATTACK_FLAG, flag_message(flag, stamp, frame_id), received)
        if message.camera_info is not None:
            self.camera_info = message.camera_info.fields() or self.camera_info
        if self.camera_info is not None:
            self.bag.write_camera_info(self._topic(CAMERA_INFO_TOPIC), self.camera_info, stamp, frame_id, received)
        if result.pictures is None:
            return
        for topic in PICTURE_TOPICS if result.tracked else (*PICTURE_TOPICS, UNDEFENDED):
            picture = topic.draw(result, result.pictures, self.palette)
            self.bag.write_image(self._topic(topic.name), picture, topic.encoding, stamp, frame_id, received)

    def _topic(self, name: str) -> str:
        return f"{self.namespace}/{name}"

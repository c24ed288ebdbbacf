"""ROS messages of what the rest of the project computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from zmask_ros.io.bags.camera_info import CameraInfoFields
from zmask_ros.io.images.codec import encode
from zmask_ros.msg import AttackFlag, AttackRegion

if TYPE_CHECKING:
    from zmask_ros.data.street import CameraIntrinsics
    from zmask_ros.flags.flag import Flag

# Classes of the detections: of an attack, and of what is masked without being called one.
ADVERSARIAL = "adversarial region"
PRECAUTION = "region masked as a precaution"


def image_message(header: Header, image: np.ndarray, encoding: str) -> Image:
    """A sensor_msgs/Image of an array, with this header."""
    return Image(header=header, **vars(encode(image, encoding)))


def flag_message(header: Header, flag: Flag) -> AttackFlag:
    """A flag with the header of its frame."""
    message = AttackFlag(header=header, **flag.message_fields())
    for region in flag.regions:
        box = RegionOfInterest(x_offset=region.x, y_offset=region.y, width=region.width, height=region.height)
        message.regions.append(AttackRegion(box=box, score=region.score, fraction=region.fraction))
    return message


def region_class(flag: AttackFlag) -> str:
    """What the masked regions of a frame are called: only those of an attack are called adversarial."""
    return ADVERSARIAL if flag.state == AttackFlag.ATTACK else PRECAUTION


def detections_message(flag: AttackFlag) -> Any:
    """The regions of a flag as a vision_msgs/Detection2DArray, for tools that know those.

    Raises:
        ImportError: vision_msgs is not installed.
    """
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

    message = Detection2DArray(header=flag.header)
    for region in flag.regions:
        found = Detection2D(header=flag.header)
        found.bbox.center.position.x = region.box.x_offset + region.box.width / 2
        found.bbox.center.position.y = region.box.y_offset + region.box.height / 2
        found.bbox.size_x, found.bbox.size_y = float(region.box.width), float(region.box.height)
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = region_class(flag), float(region.score)
        found.results = [hypothesis]
        message.detections.append(found)
    return message


def camera_info_message(header: Header, camera: CameraIntrinsics) -> CameraInfo:
    """A pinhole camera without distortion."""
    k = (camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0)
    info = CameraInfoFields(camera.height, camera.width, k)
    fields = {"distortion_model": info.distortion_model, "d": info.d, "k": k, "r": info.r, "p": info.projection}
    return CameraInfo(header=header, height=info.height, width=info.width, **fields)

"""ROS messages of what the rest of the project computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from zmask_ros.io.images.codec import encode
from zmask_ros.msg import AttackFlag, AttackRegion

if TYPE_CHECKING:
    from zmask_ros.data.street import CameraIntrinsics
    from zmask_ros.flags.flag import Flag, Region

# Class of the detections.
ADVERSARIAL = "adversarial region"


def image_message(header: Header, image: np.ndarray, encoding: str) -> Image:
    """A sensor_msgs/Image of an array, with this header."""
    return Image(header=header, **vars(encode(image, encoding)))


def region_message(region: Region) -> AttackRegion:
    """A connected part of a mask."""
    box = RegionOfInterest(x_offset=region.x, y_offset=region.y, width=region.width, height=region.height)
    return AttackRegion(box=box, score=region.score, fraction=region.fraction)


def flag_message(header: Header, flag: Flag) -> AttackFlag:
    """A flag with the header of its frame."""
    regions = [region_message(region) for region in flag.regions]
    return AttackFlag(header=header, regions=regions, **flag.message_fields())


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
        hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = ADVERSARIAL, float(region.score)
        found.results = [hypothesis]
        message.detections.append(found)
    return message


def camera_info_message(header: Header, camera: CameraIntrinsics) -> CameraInfo:
    """A pinhole camera without distortion."""
    fx, fy, cx, cy = float(camera.fx), float(camera.fy), float(camera.cx), float(camera.cy)
    return CameraInfo(
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )

"""ROS messages of what the rest of the project computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from zmask_ros.msg import AttackFlag
from zmask_ros.node.inputs import Arrival
from zmask_ros.outputs import STATE_CODES
from zmask_ros.world.images import encode

if TYPE_CHECKING:
    from zmask_ros.camera import CameraResult
    from zmask_ros.world.street import CameraIntrinsics


def image_message(header: Header, image: np.ndarray, encoding: str) -> Image:
    """A sensor_msgs/Image of an array, with this header."""
    fields = encode(image, encoding)
    return Image(
        header=header,
        height=fields.height,
        width=fields.width,
        encoding=fields.encoding,
        is_bigendian=fields.is_bigendian,
        step=fields.step,
        data=fields.data,
    )


def flag_message(arrival: Arrival, result: CameraResult) -> AttackFlag:
    """The flag of a frame, processed or not."""
    message = AttackFlag(
        header=arrival.message.header,
        state=STATE_CODES[result.state.value],
        reason=result.reason,
        score=result.score,
        threshold=result.threshold,
        mask_fraction=result.mask_fraction,
        latency_ms=arrival.latency_ms,
    )
    if result.region is not None:
        message.region = RegionOfInterest(
            x_offset=result.region.x,
            y_offset=result.region.y,
            width=result.region.width,
            height=result.region.height,
        )
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

"""What a `sensor_msgs/CameraInfo` says of a camera, in the spelling of ROS 1 or of ROS 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class RegionFields:
    """A `sensor_msgs/RegionOfInterest`, in pixels; all 0 is the whole image."""

    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    rectified: bool = False


@dataclass(frozen=True)
class CameraInfoFields:
    """The fields of a `CameraInfo` without its header.

    Attributes:
        height, width: of the image, in pixels.
        k: the 3x3 matrix row by row, 9 numbers.
        d: the distortion in the terms of ``distortion_model``.
        r: the 3x3 rectification row by row, 9 numbers.
        p: the 3x4 projection row by row, 12 numbers; empty for that of a camera without rectification.
        binning_x, binning_y: pixels of the sensor that are one pixel of the image; 0 is the same as 1.
        roi: the part of the sensor that the image shows.
    """

    height: int
    width: int
    k: Sequence[float]
    d: Sequence[float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    distortion_model: str = "plumb_bob"
    r: Sequence[float] = _IDENTITY
    p: Sequence[float] = ()
    binning_x: int = 0
    binning_y: int = 0
    roi: RegionFields = RegionFields()

    @property
    def projection(self) -> tuple[float, ...]:
        """The 3x4 projection row by row; that of ``k`` where ``p`` is empty."""
        if len(self.p):
            return tuple(self.p)
        k = tuple(self.k)
        return (*k[0:3], 0.0, *k[3:6], 0.0, *k[6:9], 0.0)


def camera_info_fields(message: Any) -> CameraInfoFields:
    """The fields of a `CameraInfo` message: ROS 1 spells the matrices D, K, R, P, ROS 2 d, k, r, p.

    Raises:
        AttributeError: the message is no CameraInfo.
    """
    plain = ("height", "width", "distortion_model", "binning_x", "binning_y")
    fields: dict[str, Any] = {name: getattr(message, name) for name in plain}
    for name in "dkrp":
        values = getattr(message, name) if hasattr(message, name) else getattr(message, name.upper())
        fields[name] = tuple(float(value) for value in values)
    roi = message.roi
    region = RegionFields(roi.x_offset, roi.y_offset, roi.width, roi.height, bool(roi.do_rectify))
    return CameraInfoFields(**fields, roi=region)

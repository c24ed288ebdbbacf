"""A procedural street drive: images with exact labels, poses, and a billboard or truck that carries a picture."""

from zmask_ros.data.street.drive import StreetDrive, StreetFrame
from zmask_ros.data.street.labels import CLASS_NAMES
from zmask_ros.data.street.view import CameraIntrinsics

__all__ = ["CLASS_NAMES", "CameraIntrinsics", "StreetDrive", "StreetFrame"]

"""A procedural street drive: images with exact labels, poses, and a billboard or truck that carries a picture."""

from .drive import StreetDrive, StreetFrame
from .labels import CLASS_NAMES
from .view import CameraIntrinsics

__all__ = ["CLASS_NAMES", "CameraIntrinsics", "StreetDrive", "StreetFrame"]

"""A simulated drive through a street: images with exact labels, poses, and a billboard or truck with a picture on it.

Everything follows from a seed: `drive` builds a street (`builder`, `crowd`) of things (`scenery`, `furniture`,
`vehicles`, `people`, `ground`) and draws them on a `canvas` under some `weather`. This room may import textures and
errors; it never imports the defense, nor torch.
"""

from zmask_ros.data.street.drive import StreetDrive, StreetFrame
from zmask_ros.data.street.labels import CLASS_NAMES
from zmask_ros.data.street.view import CameraIntrinsics

__all__ = ["CLASS_NAMES", "CameraIntrinsics", "StreetDrive", "StreetFrame"]

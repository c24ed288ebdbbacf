"""Drives whose truth is known, of the street world and of CamVid, recorded into bags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zmask_ros.data.camvid import CamVid
from zmask_ros.data.street import StreetDrive
from zmask_ros.io.bags.camera_info import CameraInfoFields
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.progress import Progress, silent

CAMERA = "/camera"
"""Namespace of the recorded topics."""
FRAME_ID = "camera"
PAUSE_NS = 1_000_000_000
"""Between two drives in one bag, nanoseconds."""


@dataclass(frozen=True)
class RecordedFrame:
    """One frame to record.

    Attributes:
        stamp_ns: its time, nanoseconds.
        image: uint8 [H, W, 3], RGB.
        labels: uint8 [H, W], 255 unlabelled; None where they are not known.
        patch_mask: uint8 [H, W], 255 where a patch is seen; None where that is not known.
        camera_info: the camera's calibration, where it is known.
    """

    stamp_ns: int
    image: np.ndarray
    labels: np.ndarray | None
    patch_mask: np.ndarray | None
    camera_info: CameraInfoFields | None


def street_frames(drives: Iterable[StreetDrive]) -> Iterator[RecordedFrame]:
    """Every frame of ``drives``, one drive after the other in time, with its truth."""
    start_ns = 0
    for drive in drives:
        camera = drive.camera
        k = (camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0)
        info = CameraInfoFields(camera.height, camera.width, k)
        stamp_ns = start_ns
        for frame in drive:
            stamp_ns = start_ns + frame.stamp_ns
            yield RecordedFrame(stamp_ns, frame.image, frame.labels, frame.patch_mask.astype(np.uint8) * 255, info)
        start_ns = stamp_ns + PAUSE_NS


def camvid_frames(dataset: CamVid) -> Iterator[RecordedFrame]:
    """Every frame of a split, one drive after the other in time, with its labels."""
    start_ns, stamp_ns, drive = 0, 0, None
    for frame in dataset:
        if drive not in (None, frame.drive):
            start_ns = stamp_ns + PAUSE_NS
        drive, stamp_ns = frame.drive, start_ns + frame.stamp_ns
        yield RecordedFrame(stamp_ns, frame.image, frame.labels, None, None)


def record(
    output: Path, frames: Iterable[RecordedFrame], total: int, overwrite: bool = False, progress: Progress = silent
) -> None:
    """Write frames into a bag, with their truth on topics of its own.

    Args:
        output: the bag.
        frames: in the order of their stamps.
        total: how many there are, for ``progress``.
        overwrite: replace a bag that is there.
        progress: counts frames.

    Raises:
        ZmaskError: the bag exists, or cannot be written.
    """
    with BagWriter(output, overwrite=overwrite) as bag, progress("Recording", "frames", total) as advance:
        for frame in frames:
            bag.write_image(f"{CAMERA}/image_raw", frame.image, "rgb8", frame.stamp_ns, FRAME_ID)
            if frame.camera_info is not None:
                bag.write_camera_info(f"{CAMERA}/camera_info", frame.camera_info, frame.stamp_ns, FRAME_ID)
            for name, plane in (("labels", frame.labels), ("patch", frame.patch_mask)):
                if plane is not None:
                    bag.write_image(f"{CAMERA}/truth/{name}", plane, "mono8", frame.stamp_ns, FRAME_ID)
            advance()

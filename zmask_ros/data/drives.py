"""TODO."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from zmask_ros.cli.console import progress
from zmask_ros.data.camvid import CamVid
from zmask_ros.data.street import StreetDrive
from zmask_ros.io.bags.camera_info import CameraInfoFields
from zmask_ros.io.bags.writer import BagWriter

CAMERA = "/camera"
FRAME_ID = "camera"
PAUSE_NS = 1_000_000_000


@dataclass(frozen=True)
class RecordedFrame:
    """One frame to record; labels and patch mask where they are known (uint8 [H, W])."""

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


def _camvid_frames(dataset: CamVid) -> Iterator[RecordedFrame]:
    start_ns, stamp_ns, drive = 0, 0, None
    for frame in dataset:
        if drive not in (None, frame.drive):
            start_ns = stamp_ns + PAUSE_NS
        drive, stamp_ns = frame.drive, start_ns + frame.stamp_ns
        yield RecordedFrame(stamp_ns, frame.image, frame.labels, None, None)


def record(output: Path, frames: Iterator[RecordedFrame], total: int, force: bool) -> None:
    """Write ``total`` frames into the bag ``output``, with a progress bar; ``force`` replaces a bag that is there."""
    with BagWriter(output, overwrite=force) as bag, progress("Recording", "frames", total) as advance:
        for frame in frames:
            _write(bag, frame)
            advance()
    click.echo(f"{output}: {total} frames on {CAMERA}/image_raw", err=True)


def _write(bag: BagWriter, frame: RecordedFrame) -> None:
    stamp_ns = frame.stamp_ns
    bag.write_image(f"{CAMERA}/image_raw", frame.image, "rgb8", stamp_ns, FRAME_ID)
    if frame.camera_info is not None:
        bag.write_camera_info(f"{CAMERA}/camera_info", frame.camera_info, stamp_ns, FRAME_ID)
    for name, plane in (("labels", frame.labels), ("patch", frame.patch_mask)):
        if plane is not None:
            bag.write_image(f"{CAMERA}/truth/{name}", plane, "mono8", stamp_ns, FRAME_ID)

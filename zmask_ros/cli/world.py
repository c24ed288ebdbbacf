"""`zmask world`: drives of the street world and of CamVid as bags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from zmask_ros.attacks import load_patch
from zmask_ros.cli.console import progress
from zmask_ros.errors import ZmaskError
from zmask_ros.world.bag_writer import BagWriter
from zmask_ros.world.camera_info import CameraInfoFields
from zmask_ros.world.datasets import SPLITS, CamVid, camvid_root
from zmask_ros.world.street import StreetDrive

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


@click.group()
def command() -> None:
    """Record drives whose truth is known into bags."""


@command.command()
@click.argument("seeds", nargs=-1, type=int, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Bag: OUT.mcap, or a folder.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=20.0, show_default=True, help="Of each drive.")
@click.option("--rate", type=click.FloatRange(min=0.1), default=15.0, show_default=True, help="Frames a second.")
@click.option("--carrier", type=click.Choice(["none", "billboard", "truck"]), default="none", show_default=True)
@click.option("--patch", type=click.Path(path_type=Path), help="Picture on the carrier, instead of an advertisement.")
@click.option("--force", is_flag=True, help="Replace a bag that is there already.")
def street(
    seeds: tuple[int, ...],
    output: Path,
    seconds: float,
    rate: float,
    carrier: str,
    patch: Path | None,
    force: bool,
) -> None:
    """Drives through the street world, one for each of SEEDS, one after the other.

    Topics: /camera/image_raw, /camera/camera_info, and the truth: /camera/truth/labels, /camera/truth/patch.

    \b
      zmask world street 1 2 3 -o clean.mcap
      zmask world street 4 --carrier billboard --patch patch.png -o attacked.mcap
    """
    picture = load_patch(patch) if patch else None
    if picture is not None and carrier == "none":
        raise ZmaskError("A patch needs a carrier: --carrier billboard or truck.")
    drives = [
        StreetDrive(seed, seconds, rate, carrier=None if carrier == "none" else carrier, picture=picture)  # type: ignore[arg-type]
        for seed in seeds
    ]
    record(output, street_frames(drives), sum(len(drive) for drive in drives), force)


@command.command()
@click.argument("split", type=click.Choice(SPLITS))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Bag: OUT.mcap, or a folder.")
@click.option("--root", type=click.Path(path_type=Path), help="CamVid's folder; by default $ZMASK_CAMVID.")
@click.option("--force", is_flag=True, help="Replace a bag that is there already.")
def camvid(split: str, output: Path, root: Path | None, force: bool) -> None:
    """A split of CamVid as a drive: /camera/image_raw and /camera/truth/labels.

    \b
      zmask world camvid train -o camvid_train.mcap
    """
    folder = root or camvid_root()
    if folder is None:
        raise ZmaskError("CamVid was not found: name its folder with --root or in $ZMASK_CAMVID.")
    dataset = CamVid(folder, split)
    record(output, _camvid_frames(dataset), len(dataset), force)


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

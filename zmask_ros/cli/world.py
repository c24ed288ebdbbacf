"""`zmask world`: drives whose truth is known, as bags or as sets of CARLA-GeAR."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import numpy as np

from zmask_ros.attacks import load_patch, load_patches
from zmask_ros.attacks.panels import CARRIERS, Carrier, default_camera, patched_image
from zmask_ros.attacks.projection import PinholeCamera
from zmask_ros.cli import options
from zmask_ros.cli.console import progress
from zmask_ros.data.camvid import SPLITS, CamVid, camvid_root
from zmask_ros.data.carla_gear.from_street import gear_camera, gear_frames, gear_panel, scene_name
from zmask_ros.data.carla_gear.reader import GearFrame
from zmask_ros.data.carla_gear.writer import GearWriter
from zmask_ros.data.drives import CAMERA, RecordedFrame, camvid_frames, record, street_frames
from zmask_ros.data.street import StreetDrive
from zmask_ros.errors import ZmaskError
from zmask_ros.io.bags.camera_info import CameraInfoFields
from zmask_ros.io.bags.reader import CameraBags
from zmask_ros.io.files import check_apart
from zmask_ros.progress import Advance

seeds_argument = click.argument("seeds", nargs=-1, type=int, required=True)
carrier_option = functools.partial(
    click.option,
    "--carrier",
    type=click.Choice(["none", "billboard", "truck"]),
    callback=lambda ctx, param, value: None if value == "none" else value,
    help="What stands or drives before the camera to carry a picture.",
)
patch_option = options.path("--patch", help="Picture on the carrier, instead of an advertisement.")
rate_option = functools.partial(click.option, "--rate", type=options.FloatRange(min=0.1), help="Frames a second.")


@click.group()
def command() -> None:
    """Make drives with known truth: simulated, CamVid, or your own with a patch in it."""


@command.command()
@seeds_argument
@options.bag
@click.option("--seconds", type=options.FloatRange(min=0.1), default=20.0, help="Of each drive.")
@rate_option(default=15.0)
@carrier_option(default="none")
@patch_option
@options.force
def street(
    seeds: tuple[int, ...],
    output: Path,
    seconds: float,
    rate: float,
    carrier: str | None,
    patch: Path | None,
    overwrite: bool,
) -> None:
    """Drives through the street world, one for each of SEEDS, one after the other.

    Topics: /camera/image_raw, /camera/camera_info, and the truth: /camera/truth/labels, /camera/truth/patch.

    \b
      zmask world street 1 2 3 -o clean.mcap
      zmask world street 4 --carrier billboard --patch patch.png -o attacked.mcap
    """
    picture = _picture(patch, carrier)
    drives = [StreetDrive(seed, seconds, rate, carrier=carrier, picture=picture) for seed in seeds]
    _record(output, street_frames(drives), sum(len(drive) for drive in drives), overwrite)


@command.command()
@click.argument("split", type=click.Choice(SPLITS))
@options.bag
@options.path("--root", help="CamVid's folder; by default $ZMASK_CAMVID.")
@click.option("--drive", "drives", multiple=True, help="Only this drive of the split; may be repeated.")
@options.force
def camvid(split: str, output: Path, root: Path | None, drives: tuple[str, ...], overwrite: bool) -> None:
    """A split of CamVid as a drive: /camera/image_raw and /camera/truth/labels.

    \b
      zmask world camvid train -o camvid_train.mcap
      zmask world camvid train --drive 0006R0 -o 0006R0.mcap
    """
    folder = root or camvid_root()
    if folder is None:
        raise ZmaskError("CamVid was not found: name its folder with --root or in $ZMASK_CAMVID.")
    dataset = CamVid(folder, split, drives)
    _record(output, camvid_frames(dataset), len(dataset), overwrite)


@command.command()
@click.argument("drive", type=options.PATH)
@options.topic
@options.bag
@options.path("--patch", required=True, help="Picture of the patch, such as zmask attack writes.")
@click.option(
    "--carrier",
    type=click.Choice(list(CARRIERS)),
    default="billboard",
    help="billboard: stands on the right and is passed every seven seconds; truck: drives ahead.",
)
@options.every
@options.significant_bits
@options.force
def drive(
    drive: Path,
    topic: str | None,
    output: Path,
    patch: Path,
    carrier: str,
    every: int,
    significant_bits: int,
    overwrite: bool,
) -> None:
    """A recorded DRIVE of your own with a patch in it, to see what the defense makes of it.

    The patch is on a panel that is seen by the focal length and the center in the camera's camera_info (a lens without
    distortion); without one, through a lens of 53 degrees. Nothing covers it, and the network under attack is not
    asked: use a patch that zmask attack made against yours. Topics: /camera/image_raw, and where the patch is:
    /camera/truth/patch.

    \b
      zmask attack --bag clean_drive --segmenter mine.yaml -o patch.png
      zmask world drive another_drive --patch patch.png -o attacked.mcap
      zmask replay attacked.mcap --profile mine.zmask.safetensors --segmenter mine.yaml --video out.mp4
    """
    check_apart(output, drive)
    pictures = load_patches(patch)
    if len(pictures) > 1:
        raise ZmaskError(f"{patch} is one of {len(pictures)} patches that belong together: there is one panel.")
    shares: list[float] = []
    with CameraBags(drive, topic, every, significant_bits) as bags:
        frames = _patched_frames(bags, pictures[0], CARRIERS[carrier], shares)
        record(output, frames, bags.total, overwrite, progress)
    seen = sum(share > 0 for share in shares)
    click.echo(
        f"{output}: {len(shares)} frames on {CAMERA}/image_raw; the patch is seen in {seen} of them, and covers up to "
        f"{max(shares):.1%} of the image",
        err=True,
    )


@command.command()
@seeds_argument
@click.option(
    "--format",
    type=click.Choice(["carla-gear"]),
    default="carla-gear",
    expose_value=False,
    help="Layout of folders and files.",
)
@options.path("-o", "--output", required=True, help="The set's folder.")
@carrier_option(default="billboard")
@patch_option
@click.option("--split", default="train", help="Its name in the set, such as train, val or video.")
@click.option("--frames", type=options.COUNT, default=40, help="Of each drive.")
@rate_option(default=2.0)
@click.option("--size", type=options.IMAGE_SIZE, default="2048x1024", help="Of the images.")
@click.option("--force", "overwrite", is_flag=True, help="Replace a set that is there already.")
def export(
    seeds: tuple[int, ...],
    output: Path,
    carrier: str | None,
    patch: Path | None,
    split: str,
    frames: int,
    rate: float,
    size: tuple[int, int],
    overwrite: bool,
) -> None:
    """Drives through the street world as a set in CARLA-GeAR's layout: images, labels, and where everything is.

    Each of SEEDS becomes a scene: billboard01, billboard02 and so on, or truck01, or no_billboard. Beside its label
    maps lies camera_billboard_info.json with the camera, its pose, and the poses of the two nearest panels in each
    frame. Without --patch the panels show advertisements, to project patches onto.

    \b
      zmask world export 1 2 -o clean_set --size 1024x512
      zmask world export 4 --carrier truck --patch patch.png --split val -o attacked_set
      zmask world export 5 --split video --frames 105 --rate 30 -o drive_set
    """
    picture = _picture(patch, carrier)
    if carrier is None and len(seeds) > 1:
        raise ZmaskError("A set has one scene without billboards: name one seed, or a --carrier.")
    total = frames * len(seeds)
    with GearWriter(output, overwrite) as writer, progress("Exporting", "frames", total) as advance:
        for number, seed in enumerate(seeds, start=1):
            drive = StreetDrive(seed, frames / rate, rate, *size, carrier=carrier, picture=picture)
            described = scene_name(drive, number), split, gear_camera(drive), gear_panel(drive), picture is not None
            writer.write_scene(*described, _counted(gear_frames(drive), advance))
    click.echo(f"{output}: {total} frames in {len(seeds)} scenes", err=True)


def _patched_frames(
    bags: CameraBags, picture: np.ndarray, carrier: Carrier, shares: list[float]
) -> Iterator[RecordedFrame]:
    """The frames of a drive with a patch, uint8 [h, w, 3 or 4]; ``shares`` get what it covers of each image."""
    info, began = bags.camera_info(), None
    known = None if info is None else _pinhole(info)
    for frame in bags.warned_frames():
        # Cameras that do not set stamps set zero.
        stamp_ns = frame.stamp_ns or frame.received_ns
        began = stamp_ns if began is None else began
        size = (frame.image.shape[0], frame.image.shape[1])
        camera = known or default_camera(size)
        seconds = (stamp_ns - began) / 1e9
        image, mask = patched_image(frame.image, picture, camera, carrier, seconds, frame.index)
        shares.append(float(mask.mean()))
        yield RecordedFrame(stamp_ns, image, None, mask.astype(np.uint8) * 255, info)


def _pinhole(info: CameraInfoFields) -> PinholeCamera | None:
    """The camera that a `CameraInfo` describes; None where it says nothing, as of cameras that nobody calibrated."""
    fx, fy, cx, cy = info.k[0], info.k[4], info.k[2], info.k[5]
    if min(fx, fy, info.height, info.width) <= 0:
        return None
    return PinholeCamera.of_integer_centers((info.height, info.width), fx, fy, cx, cy)


def _record(output: Path, frames: Iterable[RecordedFrame], total: int, overwrite: bool) -> None:
    record(output, frames, total, overwrite, progress)
    click.echo(f"{output}: {total} frames on {CAMERA}/image_raw", err=True)


def _picture(patch: Path | None, carrier: str | None) -> np.ndarray | None:
    if patch is not None and carrier is None:
        raise ZmaskError("A patch needs a carrier: --carrier billboard or truck.")
    return None if patch is None else load_patch(patch)


def _counted(frames: Iterable[GearFrame], advance: Advance) -> Iterator[GearFrame]:
    for frame in frames:
        yield frame
        advance()

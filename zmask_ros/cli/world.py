"""`zmask world`: drives of the street world and of CamVid as bags, and street drives as sets of CARLA-GeAR."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
import numpy as np

from zmask_ros.attacks import load_patch
from zmask_ros.cli import options
from zmask_ros.cli.console import progress
from zmask_ros.data.camvid import SPLITS, CamVid, camvid_root
from zmask_ros.data.carla_gear.from_street import gear_camera, gear_frames, gear_panel, scene_name
from zmask_ros.data.carla_gear.reader import GearFrame
from zmask_ros.data.carla_gear.writer import GearWriter
from zmask_ros.data.drives import CAMERA, RecordedFrame, camvid_frames, record, street_frames
from zmask_ros.data.street import StreetDrive
from zmask_ros.errors import ZmaskError


def _carrier(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option --carrier; "none" is passed on as None."""
    return click.option(
        "--carrier",
        type=click.Choice(["none", "billboard", "truck"]),
        default=default,
        show_default=True,
        callback=lambda ctx, param, value: None if value == "none" else value,
        help="What stands or drives before the camera to carry a picture.",
    )


@click.group()
def command() -> None:
    """Record drives whose truth is known."""


@command.command()
@click.argument("seeds", nargs=-1, type=int, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Bag: OUT.mcap, or a folder.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=20.0, show_default=True, help="Of each drive.")
@click.option("--rate", type=click.FloatRange(min=0.1), default=15.0, show_default=True, help="Frames a second.")
@_carrier("none")
@click.option("--patch", type=click.Path(path_type=Path), help="Picture on the carrier, instead of an advertisement.")
@click.option("--force", is_flag=True, help="Replace a bag that is there already.")
def street(
    seeds: tuple[int, ...],
    output: Path,
    seconds: float,
    rate: float,
    carrier: str | None,
    patch: Path | None,
    force: bool,
) -> None:
    """Drives through the street world, one for each of SEEDS, one after the other.

    Topics: /camera/image_raw, /camera/camera_info, and the truth: /camera/truth/labels, /camera/truth/patch.

    \b
      zmask world street 1 2 3 -o clean.mcap
      zmask world street 4 --carrier billboard --patch patch.png -o attacked.mcap
    """
    picture = _picture(patch, carrier)
    drives = [StreetDrive(seed, seconds, rate, carrier=carrier, picture=picture) for seed in seeds]
    _record(output, street_frames(drives), sum(len(drive) for drive in drives), force)


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
    _record(output, camvid_frames(dataset), len(dataset), force)


@command.command()
@click.argument("seeds", nargs=-1, type=int, required=True)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["carla-gear"]),
    default="carla-gear",
    show_default=True,
    help="Layout of folders and files.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The set's folder.")
@_carrier("billboard")
@click.option("--patch", type=click.Path(path_type=Path), help="Picture on the carrier, instead of an advertisement.")
@click.option("--split", default="train", show_default=True, help="Its name in the set, such as train, val or video.")
@click.option("--frames", type=click.IntRange(min=1), default=40, show_default=True, help="Of each drive.")
@click.option("--rate", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="Frames a second.")
@click.option("--size", type=options.ImageSize(), default="2048x1024", show_default=True, help="Of the images.")
@click.option("--force", is_flag=True, help="Replace a set that is there already.")
def export(
    seeds: tuple[int, ...],
    layout: str,
    output: Path,
    carrier: str | None,
    patch: Path | None,
    split: str,
    frames: int,
    rate: float,
    size: tuple[int, int],
    force: bool,
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
    with (
        GearWriter(output, overwrite=force) as writer,
        progress("Exporting", "frames", frames * len(seeds)) as advance,
    ):
        for number, seed in enumerate(seeds, start=1):
            drive = StreetDrive(seed, frames / rate, rate, *size, carrier=carrier, picture=picture)
            writer.write_scene(
                scene_name(drive, number),
                split,
                gear_camera(drive),
                gear_panel(drive),
                picture is not None,
                _counted(gear_frames(drive), advance),
            )
    click.echo(f"{output}: {frames * len(seeds)} frames in {len(seeds)} scenes", err=True)


def _record(output: Path, frames: Iterable[RecordedFrame], total: int, force: bool) -> None:
    record(output, frames, total, force, progress)
    click.echo(f"{output}: {total} frames on {CAMERA}/image_raw", err=True)


def _picture(patch: Path | None, carrier: str | None) -> np.ndarray | None:
    if patch is not None and carrier is None:
        raise ZmaskError("A patch needs a carrier: --carrier billboard or truck.")
    return None if patch is None else load_patch(patch)


def _counted(frames: Iterable[GearFrame], advance: Callable[[], object]) -> Iterator[GearFrame]:
    for frame in frames:
        yield frame
        advance()

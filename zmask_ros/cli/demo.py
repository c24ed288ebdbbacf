"""`zmask demo`: the whole way, from clean drives to a defended one."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from rich.markup import escape
from rich.table import Table

from zmask_ros import __version__
from zmask_ros.attacks import load_patch
from zmask_ros.camera import DefendedCamera
from zmask_ros.cli import options
from zmask_ros.cli.console import figure, print_json, progress, stdout
from zmask_ros.cli.fit import fit_bags
from zmask_ros.cli.video import Video
from zmask_ros.cli.world import record, street_frames
from zmask_ros.defense import load_profile, save_profile
from zmask_ros.demo import (
    CARRIERS,
    CLEAN_FRAMES,
    MEANINGS,
    Defence,
    DriveCounts,
    Made,
    Measurement,
    NodeFailed,
    Scenario,
    clean_drives,
    contact_sheet_of,
    free_domain,
    measure,
    overlays,
    record_drive,
    ros_environment,
    source_digest,
    state_of,
    summarise,
)
from zmask_ros.errors import ZmaskError
from zmask_ros.files import replace_file
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.shipped import shipped_patch
from zmask_ros.world.street import CLASS_NAMES

DEFAULT = Scenario()
FALSE_ALARM_RATE = 0.001
# What the files of an earlier run follow from, besides their settings.
CLEAN_SOURCES = ("world/street", "demo/scenario.py")
PROFILE_SOURCES = ("defense", "segmenters", "fitting.py")


class FramesUnflagged(click.ClickException):
    """A frame that was sent got no flag: the one thing that must never happen."""

    exit_code = 1


@dataclass(frozen=True)
class Places:
    """The files in the output folder."""

    folder: Path

    @property
    def clean(self) -> Path:
        return self.folder / "clean.mcap"

    @property
    def profile(self) -> Path:
        return self.folder / "street.zmask.safetensors"

    @property
    def drive(self) -> Path:
        return self.folder / "drive"


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True, help="Folder.")
@click.option("--patch", type=click.Path(path_type=Path), help="Picture to attack with.  [default: the shipped one]")
@click.option("--seed", type=click.IntRange(min=0), default=DEFAULT.seed, show_default=True, help="Which street.")
@click.option("--carrier", type=click.Choice(CARRIERS), default=DEFAULT.carrier, show_default=True, help="Shows it.")
@click.option(
    "--seconds", type=click.FloatRange(min=1), default=DEFAULT.seconds, show_default=True, help="Of the drive."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0.5, max=60),
    default=DEFAULT.rate_hz,
    show_default=True,
    help="Frames a second.",
)
@click.option(
    "--picture",
    "picture_s",
    type=click.FloatRange(min=0),
    nargs=2,
    default=(DEFAULT.picture_from_s, DEFAULT.picture_until_s),
    show_default=True,
    help="From which second until which the patch is shown; before and after, an advertisement.",
)
@click.option(
    "--clean-drives",
    type=click.IntRange(min=2),
    default=15,
    show_default=True,
    help=f"Drives to fit the profile on, of {CLEAN_FRAMES} frames each.",
)
@options.segmenter
@options.device
@click.option(
    "--fresh", is_flag=True, help="Record the clean drives and fit the profile anew, even if nothing changed."
)
@options.as_json
def command(
    out: Path,
    patch: Path | None,
    seed: int,
    carrier: str,
    seconds: float,
    rate: float,
    picture_s: tuple[float, float],
    clean_drives: int,
    segmenter: str,
    device: str,
    fresh: bool,
    as_json: bool,
) -> None:
    """Drive behind a truck that carries an adversarial patch, defended, through real ROS 2 nodes; no camera needed.

    What a vehicle does, on the street world: clean drives are recorded into a bag and a profile is fitted on it (both
    are kept for the next run); then street_camera, defense_node and recorder run as three processes with DDS between
    them. What was recorded is compared with the exact truth, the table printed, and left in the folder:

    \b
      drive                the bag: camera, flags, masks, segmentations (RViz, Foxglove, ros2 bag play)
      overlay.mp4          what RViz would have shown
      contact_sheet.png    five moments: camera, attacked segmentation, mask, defended segmentation
      summary.json         the figures of the table
      clean.mcap, street.zmask.safetensors    the clean drives and the profile

    Exit code 1 if a frame that was sent got no flag. Needs the package built with its messages: `make demo`, or after
    `colcon build` and sourcing install/setup.bash,

    \b
      zmask demo
      zmask demo --carrier truck --patch mine.png --seed 7 --picture 5 15
    """
    began = time.perf_counter()
    scenario = Scenario(seed, seconds, rate, carrier, *picture_s)
    loaded = _load_segmenter(segmenter, device)
    picture_path = patch or shipped_patch(loaded.name)
    picture = load_patch(picture_path)
    places = _places(out)
    defence = Defence(segmenter, places.profile, device)
    _prepare(places, scenario, clean_drives, defence, loaded, fresh)
    counts = _drive(places, scenario, picture_path, defence)
    camera = DefendedCamera(loaded, load_profile(places.profile))
    with progress("Measuring", "frames", scenario.frames) as advance:
        found = measure(scenario, picture, places.drive, camera, advance)
    _draw(places, scenario, contact_sheet_of(found, scenario, picture, places.drive, loaded.palette))
    figures = summarise(found, scenario, counts, time.perf_counter() - began)
    origin = _origin(loaded) | {
        "scenario": asdict(scenario),
        "patch": str(picture_path),
        "clean_drives": clean_drives,
        "threshold": camera.threshold,
    }
    _tell(places, figures, origin, as_json)
    _expect_flags(found, counts)


def _places(folder: Path) -> Places:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZmaskError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    places = Places(folder)
    if places.drive.exists() and not (places.drive / "metadata.yaml").is_file():
        raise ZmaskError(f"{places.drive} is no bag of an earlier demo and would be replaced: choose another --out.")
    return places


def _load_segmenter(name: str, device: str) -> Segmenter:
    segmenter = load_segmenter(name, device)
    if len(segmenter.classes) != len(CLASS_NAMES):
        raise ZmaskError(
            f"The street world has {len(CLASS_NAMES)} classes and '{name}' has {len(segmenter.classes)}, "
            "so its labels cannot be judged: choose a segmenter with CamVid's classes."
        )
    return segmenter


def _origin(segmenter: Segmenter) -> dict[str, Any]:
    return {"segmenter": segmenter.name, "digest": segmenter.digest, "tool_version": __version__}


def _prepare(
    places: Places, scenario: Scenario, drives: int, defence: Defence, segmenter: Segmenter, fresh: bool
) -> None:
    """Record the clean drives and fit the profile, unless that was done already."""
    made = Made(places.folder / ".made.json")
    clean_origin = _digest(source_digest(*CLEAN_SOURCES), drives, scenario.seed, scenario.width, scenario.height)
    profile_origin = _profile_origin(clean_origin, segmenter)
    if fresh or not made.is_current(places.clean, clean_origin):
        frames = (
            replace(frame, labels=None, patch_mask=None) for frame in street_frames(clean_drives(drives, scenario))
        )
        record(places.clean, frames, drives * CLEAN_FRAMES, force=True)
        made.note(places.clean, clean_origin)
    else:
        click.echo(f"{places.clean}: the clean drives of an earlier run are used again.", err=True)
    if fresh or not made.is_current(places.profile, profile_origin):
        profile = fit_bags([places.clean], None, defence.segmenter, FALSE_ALARM_RATE, 1, defence.device)
        save_profile(profile, places.profile)
        made.note(places.profile, profile_origin)
    else:
        click.echo(f"{places.profile}: fitted in an earlier run on them, for this network.", err=True)


def _profile_origin(clean_origin: str, segmenter: Segmenter) -> str:
    looks = segmenter.description
    layers = looks.shallow_layers, looks.deep_layers
    sources = source_digest(*PROFILE_SOURCES)
    return _digest(clean_origin, sources, FALSE_ALARM_RATE, _origin(segmenter), looks.mean, looks.std, layers)


def _digest(*settings: Any) -> str:
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()


def _drive(places: Places, scenario: Scenario, picture: Path, defence: Defence) -> DriveCounts:
    """Run the nodes; the bag is in its place afterwards."""
    # This process takes part: it follows the flags.
    os.environ.update(ros_environment(free_domain()))
    with progress("Driving", "frames", scenario.frames) as advance:
        try:
            return record_drive(scenario, picture, defence, places.drive, lambda flag: advance(1, _note(flag)))
        except NodeFailed as error:
            click.echo(error.output, err=True)
            raise


def _note(flag: Any) -> str:
    return f"{state_of(flag).value:7} score {flag.score:.3g}"


def _draw(places: Places, scenario: Scenario, sheet: np.ndarray) -> None:
    _, encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    replace_file(places.folder / "contact_sheet.png", encoded.tobytes())
    with (
        Video(places.folder / "overlay.mp4", scenario.rate_hz) as video,
        progress("Filming", "frames", scenario.frames) as advance,
    ):
        for picture in overlays(places.drive):
            video.add(picture)
            advance()


def _tell(places: Places, figures: dict[str, Any], origin: dict[str, Any], as_json: bool) -> None:
    summary = figures | origin
    replace_file(places.folder / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    if as_json:
        print_json(summary)
        return
    table = Table(title=escape(f"Demo, results in {places.folder}"), title_justify="left", show_header=False)
    for name, meaning in MEANINGS.items():
        table.add_row(name, figure(figures[name]), meaning)
    stdout.print(table)


def _expect_flags(found: Measurement, counts: DriveCounts) -> None:
    recorded = sum(outcome.flag is not None for outcome in found.outcomes)
    if counts.flags_missing or recorded < counts.frames_sent:
        missing = max(counts.flags_missing, counts.frames_sent - recorded)
        raise FramesUnflagged(f"{missing} of {counts.frames_sent} frames got no flag.")

"""TODO."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from zmask_ros import __version__
from zmask_ros.cli.console import progress
from zmask_ros.data.drives import record, street_frames
from zmask_ros.data.street import CLASS_NAMES
from zmask_ros.defense import save_profile
from zmask_ros.demo import (
    CLEAN_FRAMES,
    Defence,
    DriveCounts,
    Made,
    Measurement,
    NodeFailed,
    Scenario,
    clean_drives,
    free_domain,
    overlays,
    record_drive,
    ros_environment,
    source_digest,
)
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.files import replace_file
from zmask_ros.io.images.video import Video
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.pipeline import fit_bags

FALSE_ALARM_RATE = 0.001

# What the files of an earlier run follow from, besides their settings.
CLEAN_SOURCES = ("data/street", "data/textures", "data/drives.py", "demo/scenario.py")
PROFILE_SOURCES = ("defense", "segmenters", "training")


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
    return f"{FrameState(flag.state).name:7} score {flag.score:.3g}"


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


def _expect_flags(found: Measurement, counts: DriveCounts) -> None:
    recorded = sum(outcome.flag is not None for outcome in found.outcomes)
    if counts.flags_missing or recorded < counts.frames_sent:
        missing = max(counts.flags_missing, counts.frames_sent - recorded)
        raise FramesUnflagged(f"{missing} of {counts.frames_sent} frames got no flag.")

"""The whole demo: clean drives, a profile fitted on them, a defended drive by real nodes, and its figures."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from zmask_ros import __version__
from zmask_ros.attacks import load_patch
from zmask_ros.data.drives import CAMERA, record, street_frames
from zmask_ros.data.street import CLASS_NAMES
from zmask_ros.defense import load_profile, save_profile
from zmask_ros.defense.engine import deploy
from zmask_ros.demo.aims import judge
from zmask_ros.demo.drive import NAMESPACE, RUNTIME, record_drive
from zmask_ros.demo.measure import DemoFigures, measure, summarize, unflagged_frames
from zmask_ros.demo.pictures import contact_sheet_of
from zmask_ros.demo.processes import free_domain, ros_environment
from zmask_ros.demo.reuse import Origins, source_digest
from zmask_ros.demo.scenario import CLEAN_FRAMES, DemoSettings, clean_drives
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.bags.reader import CameraBags, ReadReport
from zmask_ros.io.files import make_folder, replace_file
from zmask_ros.io.images.codec import encode_compressed
from zmask_ros.io.images.video import Video
from zmask_ros.progress import Progress
from zmask_ros.resources import shipped_patch
from zmask_ros.runtime.camera import DefendedCamera
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.bag_fit import fit_bags
from zmask_ros.training.settings import FitSettings

FALSE_ALARM_RATE = 0.001
# What the files of an earlier run follow from, besides their settings.
CLEAN_SOURCES = ("data/street", "data/textures", "data/drives.py", "demo/scenario.py")
PROFILE_SOURCES = ("defense", "segmenters", "training")


@dataclass(frozen=True)
class DemoResult:
    """What came of a demo.

    Attributes:
        figures: of the drive.
        unflagged: how many frames that were sent got no flag, which must never happen.
        summary: the content of summary.json: the figures, and what they are of.
    """

    figures: DemoFigures
    unflagged: int
    summary: dict[str, Any]


def run_demo(settings: DemoSettings, progress: Progress, report: Callable[[str], None]) -> DemoResult:
    """Make the demo and leave its files in the folder.

    Args:
        settings: what to show.
        progress: shown how far each part is.
        report: called with a sentence about each file of an earlier run that is used again.

    Raises:
        ZmaskError: the segmenter, the patch or the folder cannot be used.
        NodeFailedError: a node did not start, crashed, or did not end.
    """
    began = time.perf_counter()
    scenario = settings.scenario
    segmenter = _load_segmenter(settings.segmenter, settings.device)
    patch = settings.patch or shipped_patch(segmenter.name, scenario.carrier)
    picture = load_patch(patch)
    _make_folder(settings)
    _prepare(settings, segmenter, progress, report)
    # This process takes part: it follows the flags.
    os.environ.update(ros_environment(free_domain()))
    with progress("Driving", "frames", scenario.frames) as advance:
        counts = record_drive(
            settings, patch, lambda flag: advance(1, f"{FrameState(flag.state).name:7} score {flag.score:.3g}")
        )
    profile = load_profile(settings.profile)
    camera = DefendedCamera(deploy(segmenter, profile, RUNTIME).segmenter, profile)
    with progress("Measuring", "frames", scenario.frames) as advance:
        found = measure(scenario, picture, settings.drive, camera, advance)
    sheet = contact_sheet_of(found, scenario, picture, settings.drive, camera)
    _write_pictures(settings, sheet, progress)
    figures = summarize(found, scenario, counts, time.perf_counter() - began)
    summary = {
        **asdict(figures),
        "aims": {name: asdict(found) for name, found in judge(figures).items()},
        **_network(segmenter),
        "scenario": asdict(scenario),
        "patch": str(patch),
        "clean_drives": settings.clean_drives,
        "threshold": camera.defense.threshold,
    }
    replace_file(settings.folder / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    return DemoResult(figures, unflagged_frames(found, counts), summary)


def _load_segmenter(name: str, device: str) -> Segmenter:
    segmenter = load_segmenter(name, device)
    if len(segmenter.classes) != len(CLASS_NAMES):
        raise ZmaskError(
            f"The street world has {len(CLASS_NAMES)} classes and '{name}' has {len(segmenter.classes)}, "
            "so its labels cannot be judged: choose a segmenter with CamVid's classes."
        )
    return segmenter


def _make_folder(settings: DemoSettings) -> None:
    make_folder(settings.folder)
    if settings.drive.exists() and not (settings.drive / "metadata.yaml").is_file():
        raise ZmaskError(f"{settings.drive} is no bag of an earlier demo and would be replaced: choose another --out.")


def _prepare(settings: DemoSettings, segmenter: Segmenter, progress: Progress, report: Callable[[str], None]) -> None:
    """Record the clean drives and fit the profile, unless that was done already."""
    number, scenario, clean, profile = settings.clean_drives, settings.scenario, settings.clean, settings.profile
    origins = Origins(settings.folder / ".made.json")
    clean_origin = _digest(source_digest(*CLEAN_SOURCES), number, scenario.seed, scenario.width, scenario.height)
    if settings.fresh or not origins.is_current(clean, clean_origin):
        frames = street_frames(clean_drives(number, scenario))
        unlabelled = (replace(frame, labels=None, patch_mask=None) for frame in frames)
        total = number * CLEAN_FRAMES
        record(clean, unlabelled, total, overwrite=True, progress=progress)
        report(f"{clean}: {total} frames on {CAMERA}/image_raw")
        origins.note(clean, clean_origin)
    else:
        report(f"{clean}: the clean drives of an earlier run are used again.")
    origin = profile_origin(clean_origin, segmenter)
    if settings.fresh or not origins.is_current(profile, origin):
        with CameraBags(clean) as bags:
            # In these drawn streets advertisements set the head's threshold too high for a small, distant patch.
            fitting = FitSettings(false_alarm_rate=FALSE_ALARM_RATE, variant="mean-z")
            fit = fit_bags(segmenter, bags, fitting, progress=progress)
        save_profile(fit.profile, profile)
        origins.note(profile, origin)
    else:
        report(f"{profile}: fitted in an earlier run on them, for this network.")


def profile_origin(clean_origin: str, segmenter: Segmenter) -> str:
    """A digest of everything that the profile follows from: the clean drives, the network, and our own sources."""
    described = segmenter.description
    layers = described.shallow_layers, described.deep_layers
    sources = source_digest(*PROFILE_SOURCES)
    return _digest(clean_origin, sources, FALSE_ALARM_RATE, _network(segmenter), described.mean, described.std, layers)


def _network(segmenter: Segmenter) -> dict[str, str]:
    return {"segmenter": segmenter.name, "digest": segmenter.digest, "tool_version": __version__}


def _digest(*settings: Any) -> str:
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()


def _write_pictures(settings: DemoSettings, sheet: np.ndarray, progress: Progress) -> None:
    replace_file(settings.folder / "contact_sheet.png", encode_compressed(sheet, "png"))
    with (
        CameraBags(settings.drive, f"{NAMESPACE}/zmask/overlay") as overlays,
        Video(settings.folder / "overlay.mp4", settings.scenario.rate_hz) as video,
        progress("Filming", "frames", settings.scenario.frames) as advance,
    ):
        for frame in overlays.frames(ReadReport()):
            video.add(frame.image)
            advance()

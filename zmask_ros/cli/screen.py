"""`zmask screen`: a calibrated profile and clean frames to the same profile with a screening."""

from __future__ import annotations

import time
from pathlib import Path

import click

from zmask_ros.cli import options
from zmask_ros.cli.clean_sources import announce, clean_source_options
from zmask_ros.cli.console import print_json, print_table, progress
from zmask_ros.cli.profile_rows import screening_rows
from zmask_ros.defense import bind, load_profile, save_profile
from zmask_ros.defense.profile.storage import check_profile_place
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.division import check_enough_frames
from zmask_ros.training.pipeline import PASSES_AN_ADVERSARIAL_STEP, seconds_a_pass
from zmask_ros.training.screening import add_screen, check_screenable
from zmask_ros.training.settings import DEFAULT_SCREEN_RATE, ScreenSettings
from zmask_ros.training.sources import CleanSources, read_frames


@click.command()
@click.argument("profile_file", metavar="PROFILE", type=click.Path(path_type=Path))
@clean_source_options
@click.option(
    "--rivals",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="STEPS",
    help="Train it for STEPS steps, against attackers who adapt to it.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=DEFAULT_SCREEN_RATE,
    show_default=True,
    help="Share of clean frames that may be analysed as a whole: the higher, the less passes for clean.",
)
@click.option("--segmenter", help="The profile's network: name or YAML file.  [default: the name in the profile]")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Profile: NAME.zmask.safetensors.")
@options.device
@options.as_json
def command(
    profile_file: Path,
    sources: CleanSources,
    rivals: int,
    rate: float,
    segmenter: str | None,
    output: Path,
    device: str,
    as_json: bool,
) -> None:
    """Give PROFILE a screening: in streaming mode, a small head looks at each frame first.

    Only frames that it finds suspicious, keyframes, and those soon after an attack are analysed as a whole; all
    others cost a glance. Nothing else of the profile changes, and without streaming mode the screening has no say. Its
    layers are those that the segmenter's description names under `screen`, or else the head's. Every fifth clean frame
    takes no part in its training, and sets its threshold.

    \b
      zmask screen city.zmask.safetensors --clean drive_1 -o screened.zmask.safetensors
    """
    settings = ScreenSettings(adversarial_steps=rivals, rate=rate)
    check_profile_place(output)
    sources.check_named()
    profile = load_profile(profile_file)
    check_screenable(profile)
    network = load_segmenter(segmenter or profile.binding.segmenter, device)
    profile.binding.check(bind(network, tuple(profile.binding.shapes)))
    clean = read_frames(network, sources, progress)
    check_enough_frames(clean)
    began = time.monotonic()
    announce(clean, (len(clean) + PASSES_AN_ADVERSARIAL_STEP * rivals) * seconds_a_pass(network, clean))
    layers = network.description.screen_layers
    screened = add_screen(network, profile, clean, settings, layers, progress=progress)
    save_profile(screened, output)
    told = screening_rows(screened.screen) | {"seconds": round(time.monotonic() - began, 1)}
    if as_json:
        print_json(told | {"profile": str(output)})
    else:
        print_table(f"Profile {output}", {name: str(value) for name, value in told.items()})

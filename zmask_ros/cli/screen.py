"""`zmask screen`: a calibrated profile and clean frames to the same profile with a screening."""

from __future__ import annotations

import time
from pathlib import Path

import click

from zmask_ros.cli import options
from zmask_ros.cli.clean_sources import announce, clean_source_options, read_clean
from zmask_ros.cli.console import print_profile, progress
from zmask_ros.cli.kept_training import kept_training
from zmask_ros.cli.profile_rows import screening_rows
from zmask_ros.defense import load_profile, save_profile
from zmask_ros.defense.profile.storage import check_profile_place
from zmask_ros.training.pipeline import PASSES_AN_ADVERSARIAL_STEP, seconds_a_pass
from zmask_ros.training.plans import screen_layers
from zmask_ros.training.screening import add_screen, check_screenable
from zmask_ros.training.settings import ScreenSettings
from zmask_ros.training.sources import CleanSources


@click.command()
@options.profile_file
@clean_source_options
@click.option(
    "--rivals",
    type=options.COUNT,
    default=ScreenSettings.adversarial_steps,
    metavar="STEPS",
    help="Train it for STEPS steps, against attackers who adapt to it.",
)
@click.option(
    "--rate",
    type=options.SHARE,
    default=ScreenSettings.rate,
    help="Share of clean frames that may be analysed as a whole: the higher, the less passes for clean.",
)
@options.profiles_segmenter
@options.profile_output
@options.threads
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
    """Give PROFILE a screening: in streaming mode, a small head sees each frame first.

    Only frames that it finds suspicious, keyframes, and those soon after an attack are analysed as a whole; all
    others cost little. Nothing else of the profile changes, and without streaming mode the screening has no say. Its
    layers are those that the segmenter's description names under `screen`, or else the head's. Every fifth clean frame
    takes no part in its training, and sets its threshold. After Ctrl-C, the same command goes on where it stopped.

    \b
      zmask screen city.zmask.safetensors --clean drive_1 -o screened.zmask.safetensors
    """
    settings = ScreenSettings(adversarial_steps=rivals, rate=rate)
    check_profile_place(output)
    sources.check_named()
    profile = load_profile(profile_file)
    check_screenable(profile)
    network, clean = read_clean(profile, segmenter, device, sources)
    began = time.monotonic()
    announce(clean, (len(clean) + PASSES_AN_ADVERSARIAL_STEP * rivals) * seconds_a_pass(network, clean))
    with kept_training(output) as state:
        layers = screen_layers(network)
        screened = add_screen(network, profile, clean, settings, layers, progress=progress, state=state)
        save_profile(screened, output)
    told = screening_rows(screened.screen) | {"seconds": round(time.monotonic() - began, 1)}
    print_profile(output, told, as_json)

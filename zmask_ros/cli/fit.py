"""`zmask fit`: clean drives to a profile."""

from __future__ import annotations

import shutil
from functools import reduce
from pathlib import Path
from typing import Any

import click

from zmask_ros.cli import options
from zmask_ros.cli.console import print_profile, progress, warn
from zmask_ros.cli.fleet import bag_cache, exit_with, fleet_options, local_bags, pool_settings, report_tally
from zmask_ros.cli.options import begun_with
from zmask_ros.cli.profile_rows import remarks, summary
from zmask_ros.defense import load_profile, merge_profiles, save_profile
from zmask_ros.defense.profile.merging import check_mergeable
from zmask_ros.defense.profile.storage import check_profile_place
from zmask_ros.errors import ZmaskError
from zmask_ros.fleet.bag_names import named_bags
from zmask_ros.fleet.fit import BagReading, FleetFitRequest, fit_fleet
from zmask_ros.fleet.results import results_of
from zmask_ros.io.bags.reader import CameraBags
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.bag_fit import fit_bags
from zmask_ros.training.plans import PLANS
from zmask_ros.training.settings import FitSettings


@click.command()
@options.bag_names
@options.topic
@options.begun_segmenter
@options.profile_output
@options.false_alarm_rate(default=FitSettings.false_alarm_rate)
@options.every
@options.significant_bits
@click.option(
    "--variant",
    type=click.Choice(list(PLANS)),
    default=FitSettings.variant,
    help="ours: an evidence head that was trained on many networks; mean-z: the mean z-scores of the described layers; "
    "paper: as in the Z-Mask paper. The last two are there to compare with.",
)
@click.option(
    "--trial/--no-trial",
    default=FitSettings.trial,
    help="Try a quick plain patch at the end, half a minute for a small network on a CPU. If it scores at least twice "
    "the threshold of clean frames, the alarm goes halfway between on a logarithmic scale; masks begin where clean "
    "frames end in either case. Only for the head that was trained on other networks.",
)
@options.path(
    "--merge",
    multiple=True,
    help="Merge this profile in, as if its drives were fitted here; may be repeated, and without bags.",
)
@options.path(
    "--from",
    "start",
    help="Start from this profile of the same network: its head, layers, screening and mask growth are kept. Its "
    "statistics count as much as those of all BAGS together, and thresholds rise where BAGS ask for it. So a shipped "
    "or older profile is brought to another camera. (zmask prepare --from keeps no old statistics.)",
)
@options.threads
@options.device
@fleet_options
@options.as_json
def command(
    bags: tuple[str, ...],
    topic: str | None,
    segmenter: str | None,
    output: Path,
    every: int,
    significant_bits: int,
    merge: tuple[Path, ...],
    start: Path | None,
    device: str,
    ray: str | None,
    workers: int | None,
    timeout: float,
    cache: float,
    as_json: bool,
    **settings: Any,
) -> None:
    """Fit the clean statistics of a camera from BAGS of clean drives.

    One pass over the bags: every fifth frame is held out of the statistics and sets the threshold. Use drives without
    attacks, in the light and weather that the vehicle will meet; a few minutes at 2 Hz (`--every 8` of a 15 Hz topic)
    say more than one minute at 15 Hz.

    \b
      zmask fit drive_1 drive_2.mcap --topic /camera/image_raw -o city.zmask.safetensors
      zmask fit new_camera --from city.zmask.safetensors -o new_camera.zmask.safetensors
      zmask fit 's3://fleet/clean/*.mcap' --topic /camera/image_raw -o fleet.zmask.safetensors --ray
      zmask fit --merge city.zmask.safetensors --merge night.zmask.safetensors -o both.zmask.safetensors
    """
    if not bags and not merge:
        raise ZmaskError("Name at least one bag of clean drives, or profiles to --merge.")
    if start and not bags:
        raise ZmaskError("Name the bags that the profile is to be brought to, besides --from.")
    check_profile_place(output)
    beginning = None if start is None else load_profile(start)
    segmenter = segmenter or begun_with(beginning)
    merged = [load_profile(path) for path in merge]
    for other in merged[1:]:
        check_mergeable(merged[0], other)
    fits, tally = [], None
    if bags and ray is not None:
        reading = BagReading(topic, every, significant_bits, bag_cache(cache))
        request = FleetFitRequest(
            named_bags(bags), reading, segmenter, device, FitSettings(**settings), results_of(output), merged, beginning
        )
        done = fit_fleet(request, pool_settings(ray, workers, timeout, device), progress)
        fits, tally = [done.fit], done.tally
    elif bags:
        with CameraBags(local_bags(bags), topic, every, significant_bits) as camera:
            network = load_segmenter(segmenter, device)
            fits = [fit_bags(network, camera, FitSettings(**settings), merged, progress, beginning)]
    for fit in fits:
        for sentence in fit.warnings:
            warn(sentence)
        speed = fit.frames / max(fit.seconds, 1e-9)
        click.echo(f"{fit.frames} frames in {fit.seconds:.1f} s, {speed:.1f} frames/s", err=True)
    profile = reduce(merge_profiles, [fit.profile for fit in fits] + merged)
    save_profile(profile, output)
    for sentence in remarks(profile, profile.notes):
        warn(sentence)
    if tally is None:
        print_profile(output, summary(profile), as_json)
        return
    shutil.rmtree(results_of(output), ignore_errors=True)
    report_tally(tally)
    print_profile(output, summary(profile) | (tally.to_json() if as_json else {}), as_json)
    exit_with(tally)

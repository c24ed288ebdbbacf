"""`zmask fit`: clean drives to a profile."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path

import click

from zmask_ros.ahead import ahead
from zmask_ros.cli import options
from zmask_ros.cli.console import print_json, print_table, progress, warn
from zmask_ros.defense import Profile, load_profile, merge_profiles, save_profile
from zmask_ros.defense.merging import check_mergeable
from zmask_ros.defense.profile import OURS, RateInterval, Screen, Threshold
from zmask_ros.defense.profile_file import check_profile_place
from zmask_ros.errors import ZmaskError
from zmask_ros.fitting import PLANS, CleanFrame, ProfileFit
from zmask_ros.segmenters import load_segmenter
from zmask_ros.world.bags import CameraBags, ReadReport


@click.command()
@options.bags
@options.topic
@options.segmenter
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Profile: NAME.zmask.safetensors.")
@click.option(
    "--false-alarm-rate",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.001,
    show_default=True,
    help="Share of clean frames that may be flagged; sets the threshold.",
)
@options.every
@click.option(
    "--variant",
    type=click.Choice(list(PLANS)),
    default=OURS,
    show_default=True,
    help="Kernels, sigma and mask growth: ours, or as in the Z-Mask paper, to compare with.",
)
@click.option(
    "--merge",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Merge this profile in, as if its drives were fitted here; may be repeated, and without bags.",
)
@options.device
@options.as_json
def command(
    bags: tuple[Path, ...],
    topic: str | None,
    segmenter: str,
    output: Path,
    false_alarm_rate: float,
    every: int,
    variant: str,
    merge: tuple[Path, ...],
    device: str,
    as_json: bool,
) -> None:
    """Fit the clean statistics of a camera from BAGS of clean drives.

    One pass over the bags: every fifth frame is held out to set the fusion block and the threshold, all others
    go into the statistics. Use drives without attacks, in the light and weather that the vehicle will meet; a few
    minutes at 2 Hz (`--every 8` of a 15 Hz topic) say more than one minute at 15 Hz.

    \b
      zmask fit drive_1 drive_2.mcap --topic /camera/image_raw -o city.zmask.safetensors
      zmask fit --merge city.zmask.safetensors --merge night.zmask.safetensors -o both.zmask.safetensors
    """
    if not bags and not merge:
        raise ZmaskError("Name at least one bag of clean drives, or profiles to --merge.")
    check_profile_place(output)
    merged = [load_profile(path) for path in merge]
    for other in merged[1:]:
        check_mergeable(merged[0], other)
    fitted = [fit_bags(bags, topic, segmenter, false_alarm_rate, every, device, variant, merged)] if bags else []
    profile = reduce(merge_profiles, fitted + merged)
    save_profile(profile, output)
    for note in dict.fromkeys(profile.notes):
        warn(note)
    if as_json:
        print_json(summary(profile) | {"profile": str(output)})
    else:
        print_table(f"Profile {output}", {name: str(value) for name, value in summary(profile).items()})


def fit_bags(
    bags: Sequence[Path],
    topic: str | None,
    segmenter_name: str,
    false_alarm_rate: float,
    every: int,
    device: str,
    variant: str = OURS,
    merged: Sequence[Profile] = (),
) -> Profile:
    """Fit a profile in one pass over ``bags``, with a progress bar; arguments as the options of `zmask fit`.

    Raises:
        ProfileError: one of ``merged`` could not be merged with it.
    """
    report = ReadReport()
    with CameraBags(bags, topic, every) as camera:
        segmenter = load_segmenter(segmenter_name, device)
        plan = PLANS[variant](segmenter)
        for other in merged:
            check_mergeable(other, plan)
        fit = ProfileFit(segmenter, plan)
        began = time.perf_counter()
        frames = ahead(_clean_frames(camera, report))
        with progress("Fitting", "frames", camera.total) as advance, frames as decoded:
            for frame in decoded:
                fit.add(frame)
                advance()
        seconds = time.perf_counter() - began
    for sentence in report.truncated:
        warn(sentence)
    if report.broken:
        warn(f"{report.broken} messages were broken and passed over, the first: {report.first_broken}")
    click.echo(f"{report.read} frames in {seconds:.1f} s, {report.read / max(seconds, 1e-9):.1f} frames/s", err=True)
    return fit.finish(false_alarm_rate)


def _clean_frames(camera: CameraBags, report: ReadReport) -> Iterator[CleanFrame]:
    for frame in camera.frames(report):
        yield CleanFrame(str(frame.bag), frame.topic, frame.index // camera.every, frame.image)


def summary(profile: Profile) -> dict[str, object]:
    """What people want to know of a profile; JSON-ready."""
    threshold = profile.threshold
    return {
        "segmenter": profile.binding.segmenter,
        "variant": profile.variant,
        "digest": profile.binding.digest[:12],
        "input size": "x".join(str(v) for v in reversed(profile.binding.input_size)),
        "shallow layers": ", ".join(profile.shallow.layers),
        "deep layers": ", ".join(profile.deep.layers),
        "grid": "x".join(str(v) for v in reversed(profile.grid)),
        "clean frames": profile.frames,
        "held-out frames": sum(source.held_out for source in profile.sources),
        "threshold": round(threshold.value, 6),
        "false-alarm rate": threshold.false_alarm_rate,
        "its interval": interval_text(threshold.interval),
        "highest clean score": round(threshold.highest_clean_score, 6),
        **precaution_rows(profile.precaution),
        **screening_rows(profile.screen),
        "vote": str(profile.vote),
        "drives": ", ".join(f"{source.bag} {source.topic}" for source in profile.sources),
        "created": profile.created,
        "tool version": profile.tool_version,
    }


def precaution_rows(precaution: Threshold | None) -> dict[str, object]:
    """What is masked without being flagged."""
    if precaution is None:
        return {"masking threshold": "that of attacks"}
    return {"masking threshold": round(precaution.value, 6), "clean frames masked": precaution.false_alarm_rate}


def screening_rows(screen: Screen | None) -> dict[str, object]:
    """What is looked at first in streaming mode."""
    if screen is None:
        return {"screening": "none"}
    return {
        "screening": ", ".join(screen.head.branch.layers),
        "screening threshold": round(screen.threshold.value, 6),
        "clean frames analysed": screen.threshold.false_alarm_rate,
    }


def interval_text(interval: RateInterval | None) -> str:
    """The interval of the false-alarm rate in words."""
    if interval is None:
        return "unknown"
    counted = f"{interval.exceeded} false alarms in {interval.frames} held-out frames"
    return f"{interval.low:.3g} to {interval.high:.3g} at {interval.confidence:.0%} confidence, from {counted}"

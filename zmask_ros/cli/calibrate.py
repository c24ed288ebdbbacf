"""`zmask calibrate`: a fitted profile, clean frames and patches to a profile with a trained fusion block."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from zmask_ros.cli import options
from zmask_ros.cli.clean_sources import announce, clean_source_options, read_clean
from zmask_ros.cli.console import figure, print_json, print_rows, print_table, progress, stdout
from zmask_ros.cli.kept_training import kept_training
from zmask_ros.cli.profile_rows import interval_text, precaution_rows, summary
from zmask_ros.defense import load_profile, save_profile
from zmask_ros.defense.profile.storage import check_profile_place
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.alarm import VoteRule
from zmask_ros.training.division import check_enough_patches
from zmask_ros.training.layer_selection import LayerReport, LayerSelection
from zmask_ros.training.metrics import Figures
from zmask_ros.training.pipeline import Calibration, calibrate, calibration_seconds, check_layers
from zmask_ros.training.settings import CalibrationSettings
from zmask_ros.training.sources import CleanSources, read_patches

AUTO, KEEP = "auto", "keep"
VOTE = options.Parsed("K/N", lambda text: VoteRule(*options.numbers(text, "/", 2)), "K/N with 1 <= K <= N, such as 2/3")


@click.command()
@options.profile_file
@clean_source_options
@options.path(
    "--patches",
    multiple=True,
    help="Adversarial patch, or a folder of them (PNG); repeatable. Every third is held out.",
)
@click.option(
    "--train-patches",
    "graded_patches",
    type=click.IntRange(min=0),
    default=CalibrationSettings.graded_patches,
    metavar="N",
    help="Train N patches of graded strength first, on the frames that are not held out.",
)
@click.option(
    "--patch-steps",
    "graded_steps",
    type=options.COUNT,
    default=CalibrationSettings.graded_steps,
    help="Optimisation steps of each of these.",
)
@click.option(
    "--rivals",
    "adversarial_steps",
    type=click.IntRange(min=0),
    default=CalibrationSettings.adversarial_steps,
    metavar="STEPS",
    help="Train an evidence head in the place of the mean z-scores, for STEPS steps against attackers who "
    "adapt to it; 1200 is enough to begin with. A head that PROFILE has already is trained on.",
)
@click.option(
    "--layers",
    type=click.Choice([KEEP, AUTO]),
    default=KEEP,
    help="auto: choose layers and kernels anew, and fit them on the clean frames.",
)
@click.option(
    "--false-alarm-rate",
    type=options.SHARE,
    help="Share of clean frames that may be flagged.  [default: the profile's]",
)
@click.option(
    "--precaution-rate",
    type=options.FloatRange(0, 1, max_open=True),
    default=CalibrationSettings.precaution_rate,
    help="Share of clean frames that may be masked and segmented again without being "
    "flagged: the higher, the less is left to attackers who stay quiet. 0: mask only what is flagged.",
)
@click.option(
    "--vote",
    type=VOTE,
    default=CalibrationSettings.vote,
    show_default="1/1",
    help="K/N: an attack is called when K of the last N frames are flagged; kept in the profile.",
)
@options.profiles_segmenter
@options.profile_output
@options.threads
@options.device
@options.as_json
def command(
    profile_file: Path,
    sources: CleanSources,
    patches: tuple[Path, ...],
    layers: str,
    segmenter: str | None,
    output: Path,
    device: str,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Train the fusion block of PROFILE on patches and on what only looks like them, and set its threshold anew.

    What a block must tell apart is made from the clean frames: each as it is, with an adversarial patch, and with a
    harmless picture (noise, pieces of images, checkerboards, stripes, foliage, posters). Every fifth clean frame and
    every third patch take no part in the training; on them the old and the new profile are compared, and these clean
    frames alone set the threshold. Both parts are named in the profile's notes. The head's training (--rivals) comes
    first (after the choice of layers, with --layers auto), and goes on where it stopped if the same command is given
    again after Ctrl-C.

    \b
      zmask calibrate city.zmask.safetensors --clean drive_1 --train-patches 6 -o calibrated.zmask.safetensors
      zmask calibrate city.zmask.safetensors --camvid CamVid --patches patches -o calibrated.zmask.safetensors
    """
    settings = CalibrationSettings(select_layers=layers == AUTO, **chosen)
    check_profile_place(output)
    sources.check_named()
    named = read_patches(patches)
    if not named and not settings.graded_patches:
        raise ZmaskError("Name patches with --patches, or have some trained with --train-patches N.")
    check_enough_patches(len(named) + settings.graded_patches)
    profile = load_profile(profile_file)
    check_layers(profile, settings)
    network, clean = read_clean(profile, segmenter, device, sources)
    began = time.monotonic()
    announce(clean, calibration_seconds(network, clean, settings))
    with kept_training(output) if settings.adversarial_steps else nullcontext() as state:
        result = calibrate(network, profile, clean, named, settings, progress, state)
        save_profile(result.profile, output)
    seconds = round(time.monotonic() - began, 1)
    if as_json:
        print_json(_as_json(result) | {"profile": str(output), "seconds": seconds})
    else:
        _print(result, output, seconds)


def _as_json(result: Calibration) -> dict[str, Any]:
    profile, selection = result.profile, result.selection
    interval = profile.detector.threshold.interval
    return summary(profile) | {
        "before": _published(result.before),
        "after": _published(result.after),
        "blocks": [
            {"patch_share": own.patch_share, "growth": asdict(own.growth), "worth": own.expected_iou}
            for own in result.candidates
        ],
        "false-alarm interval": asdict(interval) if interval else None,
        "layer choice": [_published(report) for report in selection.reports] if selection else None,
        "notes": list(profile.notes),
    }


def _published(figures: Figures | LayerReport) -> dict[str, Any]:
    """Under the names that these figures have for programs that read them."""
    return {name.replace("benign", "harmless"): value for name, value in asdict(figures).items()}


def _print(result: Calibration, output: Path, seconds: float) -> None:
    if result.selection:
        _print_selection(result.selection)
    before, after = _published(result.before), _published(result.after)
    compared = [(name.replace("_", " "), figure(before[name]), figure(after[name])) for name in before]
    print_rows("Calibration", compared, ("on held-out frames and patches", "before", "after"))
    threshold = result.profile.detector.threshold
    rows = {
        "threshold": figure(threshold.value),
        "false-alarm rate": figure(threshold.false_alarm_rate),
        "its interval": interval_text(threshold.interval),
        **precaution_rows(result.profile.detector.precaution),
        "vote": result.profile.vote,
        "seconds": figure(seconds),
    }
    print_table(f"Profile {output}", rows)
    for note in result.profile.notes:
        stdout.print(f"note: {note}", markup=False)


def _print_selection(selection: LayerSelection) -> None:
    rows = []
    for own in selection.reports:
        numbers = (own.overlap, own.pixel_auc, own.frame_auc, own.benign_auc)
        rows.append((own.layer, *(f"{number:.3f}" for number in numbers), own.verdict))
    print_rows("Layers", rows, ("layer", "overlap", "pixel AUC", "frame AUC", "harmless AUC", "why"))
    for name, branch in (("S", selection.shallow), ("D", selection.deep)):
        kernels = " ".join(f"{width}x{height}" for height, width in branch.kernels)
        stdout.print(f"{name}: {', '.join(branch.layers)}; kernels {kernels}", markup=False)

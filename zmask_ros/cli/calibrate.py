"""`zmask calibrate`: a fitted profile, clean frames and patches to a profile with a trained fusion block."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from zmask_ros.cli import options
from zmask_ros.cli.clean_sources import (
    PASSES_A_RIVALS_STEP,
    announce,
    check_enough_rivals,
    clean_source_options,
    read_frames,
    read_patches,
)
from zmask_ros.cli.console import figure, print_json, print_table, progress, stdout
from zmask_ros.cli.profile_rows import interval_text, precaution_rows, summary
from zmask_ros.defense import bind, load_profile, save_profile
from zmask_ros.defense.profile.profile import OURS
from zmask_ros.defense.profile.storage import check_profile_place
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.vote import VoteRule
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.calibration import Calibration, calibrate, describe, judge_profile
from zmask_ros.training.examples import (
    check_enough_frames,
    check_enough_patches,
    divide,
)
from zmask_ros.training.figures import Judgement
from zmask_ros.training.fusion_search import TRAINING_STEPS
from zmask_ros.training.layer_selection import LayerChoice, with_edge
from zmask_ros.training.pipeline import face_rivals, look, refit, train_graded
from zmask_ros.training.sources import CleanSources

AUTO, KEEP = "auto", "keep"
# Of a training step: forward and backward of a batch, in forward passes of one image.
PASSES_A_STEP = 12
SECONDS_AN_EPOCH = 0.03
PRECAUTION_RATE = 0.05


class VoteParameter(click.ParamType):
    """K/N, such as 2/3."""

    name = "K/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> VoteRule:
        if isinstance(value, VoteRule):
            return value
        try:
            needed, frames = (int(part) for part in value.split("/"))
            return VoteRule(needed, frames)
        except ValueError:
            self.fail(f"'{value}' is not K/N with 1 <= K <= N, such as 2/3.", param, ctx)


@click.command()
@click.argument("profile_file", metavar="PROFILE", type=click.Path(path_type=Path))
@clean_source_options
@click.option(
    "--patches",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Adversarial patch, or a folder of them (PNG); repeatable. Every third is held out.",
)
@click.option(
    "--train-patches",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Train N patches of graded strength first, on the frames that are not held out.",
)
@click.option(
    "--patch-steps",
    type=click.IntRange(min=1),
    default=60,
    show_default=True,
    help="Optimisation steps of each of these.",
)
@click.option(
    "--rivals",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="STEPS",
    help="Train an evidence head in the place of the mean z-scores, for STEPS steps against attackers who "
    "adapt to it; 1200 is enough to begin with. A head that PROFILE has already is trained on.",
)
@click.option(
    "--layers",
    type=click.Choice([KEEP, AUTO]),
    default=KEEP,
    show_default=True,
    help="auto: choose layers and kernels anew, and fit them on the clean frames.",
)
@click.option(
    "--false-alarm-rate",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of clean frames that may be flagged.  [default: the profile's]",
)
@click.option(
    "--precaution-rate",
    type=click.FloatRange(0, 1, max_open=True),
    default=PRECAUTION_RATE,
    show_default=True,
    help="Share of clean frames that may be masked and segmented again without being "
    "flagged: the higher, the less is left to attackers who stay quiet. 0: mask only what is flagged.",
)
@click.option(
    "--vote",
    type=VoteParameter(),
    default=VoteRule(),
    show_default="1/1",
    help="K/N: an attack is called when K of the last N frames are flagged; kept in the profile.",
)
@click.option("--segmenter", help="The profile's network: name or YAML file.  [default: the name in the profile]")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Profile: NAME.zmask.safetensors.")
@options.device
@options.as_json
def command(
    profile_file: Path,
    sources: CleanSources,
    patches: tuple[Path, ...],
    train_patches: int,
    patch_steps: int,
    rivals: int,
    layers: str,
    false_alarm_rate: float | None,
    precaution_rate: float,
    vote: VoteRule,
    segmenter: str | None,
    output: Path,
    device: str,
    as_json: bool,
) -> None:
    """Train the fusion block of PROFILE on patches and on what only looks like them, and set its threshold anew.

    What a block must tell apart is made from the clean frames: each as it is, with an adversarial patch, and with a
    harmless picture (noise, pieces of images, checkerboards, stripes, foliage, posters). Every fifth clean frame and
    every third patch take no part in the training; on them the old and the new profile are compared, and these clean
    frames alone set the threshold. Both parts are named in the profile's notes.

    \b
      zmask calibrate city.zmask.safetensors --clean drive_1 --train-patches 6 -o calibrated.zmask.safetensors
      zmask calibrate city.zmask.safetensors --camvid CamVid --patches patches -o calibrated.zmask.safetensors
    """
    check_profile_place(output)
    check_enough_rivals(rivals)
    sources.check_named()
    named = read_patches(patches)
    if not named and not train_patches:
        raise ZmaskError("Name patches with --patches, or have some trained with --train-patches N.")
    check_enough_patches(len(named) + train_patches)
    profile = load_profile(profile_file)
    network = load_segmenter(segmenter or profile.binding.segmenter, device)
    if layers == AUTO and profile.variant != OURS:
        raise ZmaskError("The layers of the paper's variant are those of its reference: leave --layers auto away.")
    profile.binding.check(bind(network, tuple(profile.binding.shapes)))
    clean = read_frames(network, sources)
    check_enough_frames(clean)
    began = time.monotonic()
    looks = 3 * len(clean) * (1 + (layers == AUTO))
    passes = looks + PASSES_A_STEP * train_patches * patch_steps + PASSES_A_RIVALS_STEP * rivals
    announce(network, clean, passes, TRAINING_STEPS * SECONDS_AN_EPOCH)
    named += train_graded(network, profile, clean, train_patches, patch_steps)
    material = divide(clean, named)
    held_out = look(network, profile, material.held_out)
    before, choice = judge_profile(profile, held_out), None
    rate = false_alarm_rate or profile.detector.threshold.false_alarm_rate
    if layers == AUTO:
        profile, choice = refit(network, clean, material, rate)
        held_out = look(network, profile, material.held_out)
    if rivals:
        profile, material = face_rivals(network, profile, material, rivals)
        held_out = look(network, profile, material.held_out)
    if profile.variant == OURS:
        profile = with_edge(network, profile)
    training = look(network, profile, material.training)
    with progress("Training the fusion block", "epochs", TRAINING_STEPS) as advance:
        result = calibrate(profile, training, held_out, rate, precaution_rate, vote, describe(material), advance)
    save_profile(result.profile, output)
    seconds = round(time.monotonic() - began, 1)
    if as_json:
        print_json(_as_json(before, result, choice) | {"profile": str(output), "seconds": seconds})
    else:
        _print(before, result, choice, output, seconds)


def _as_json(before: Judgement, result: Calibration, choice: LayerChoice | None) -> dict[str, Any]:
    profile = result.profile
    interval = profile.detector.threshold.interval
    return summary(profile) | {
        "before": asdict(before),
        "after": asdict(result.after),
        "blocks": [{"patch_share": b.patch_share, "growth": asdict(b.growth), "worth": b.worth} for b in result.blocks],
        "false-alarm interval": asdict(interval) if interval else None,
        "layer choice": [asdict(report) for report in choice.reports] if choice else None,
        "notes": list(profile.notes),
    }


def _print(before: Judgement, result: Calibration, choice: LayerChoice | None, output: Path, seconds: float) -> None:
    if choice:
        _print_choice(choice)
    table = Table("on held-out frames and patches", "before", "after", title="Calibration", title_justify="left")
    after = asdict(result.after)
    for name, value in asdict(before).items():
        table.add_row(name.replace("_", " "), figure(value), figure(after[name]))
    stdout.print(table)
    threshold = result.profile.detector.threshold
    rows = {
        "threshold": figure(threshold.value),
        "false-alarm rate": figure(threshold.false_alarm_rate),
        "its interval": interval_text(threshold.interval),
        **{name: str(value) for name, value in precaution_rows(result.profile.detector.precaution).items()},
        "vote": str(result.profile.vote),
        "seconds": figure(seconds),
    }
    print_table(f"Profile {output}", rows)
    for note in result.profile.notes:
        stdout.print(f"note: {note}", markup=False)


def _print_choice(choice: LayerChoice) -> None:
    columns = ("layer", "overlap", "pixel AUC", "frame AUC", "harmless AUC", "why")
    table = Table(*columns, title="Layers", title_justify="left")
    for report in choice.reports:
        numbers = (report.overlap, report.pixel_auc, report.frame_auc, report.harmless_auc)
        table.add_row(escape(report.layer), *(f"{number:.3f}" for number in numbers), escape(report.verdict))
    stdout.print(table)
    for name, branch in (("S", choice.shallow), ("D", choice.deep)):
        kernels = " ".join(f"{width}x{height}" for height, width in branch.kernels)
        stdout.print(f"{name}: {', '.join(branch.layers)}; kernels {kernels}", markup=False)

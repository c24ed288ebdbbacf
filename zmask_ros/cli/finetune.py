"""`zmask finetune`: clean drives and a network to one that patches do less to."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from zmask_ros.cli import options
from zmask_ros.cli.console import figure, print_json, print_rows, progress, stdout
from zmask_ros.cli.kept_training import kept_training
from zmask_ros.defense import check_binding, load_profile
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.protocol.robustness import Robustness, RobustnessTrial
from zmask_ros.segmenters import build_segmenter, read_description
from zmask_ros.segmenters.storage import check_segmenter_place, save_segmenter
from zmask_ros.training.division import MOST_TRAINING_FRAMES, check_enough_frames
from zmask_ros.training.fine_tuning import fine_tune
from zmask_ros.training.settings import FineTuningSettings
from zmask_ros.training.sources import CleanSources, read_frames

TRIAL_STEPS = 120


@click.command()
@options.bags
@options.topic
@options.segmenter
@options.path("-o", "--output", required=True, help="Description of the new network: NAME.yaml; its weights go beside.")
@options.path(
    "--profile",
    help="Profile of the network as it is: the patches that it learns from stay below its thresholds.  "
    "[default: they know of no defense]",
)
@click.option(
    "--steps", type=options.COUNT, default=FineTuningSettings.steps, help="Of the network: the more, the less is left."
)
@click.option(
    "--learning-rate",
    type=options.FloatRange(0, min_open=True),
    default=FineTuningSettings.learning_rate,
    help="At its highest. Lower it if clean frames are segmented differently afterwards.",
)
@click.option(
    "--trial-steps",
    type=options.COUNT,
    default=TRIAL_STEPS,
    help="Of the two patches that are tried in the end, one on each network.",
)
@click.option("--force", "overwrite", is_flag=True, help="Replace a network that is there already.")
@options.every
@options.significant_bits
@options.threads
@options.device
@options.as_json
def command(
    bags: tuple[Path, ...],
    topic: str | None,
    segmenter: str,
    output: Path,
    profile: Path | None,
    steps: int,
    learning_rate: float,
    trial_steps: int,
    overwrite: bool,
    every: int,
    significant_bits: int,
    device: str,
    as_json: bool,
) -> None:
    """Make a network harder to attack: adversarial fine-tuning on BAGS of clean drives, without labels.

    Patches are made against the network while it learns to say beside them what it said of the clean frame. Every
    fifth frame takes no part; on these, clean and with a patch that is made anew against each of the two networks, the
    old and the new one are compared in the end. Neither needs a defense for that, and the new one costs no more.

    The new network needs a profile of its own, from `zmask fit` or `zmask prepare`. After Ctrl-C, the same command goes
    on where it stopped.

    \b
      zmask finetune drive_[1-4] --segmenter mine.yaml -o mine_tuned.yaml
      zmask prepare drive_[1-4] --segmenter mine_tuned.yaml -o mine_tuned.zmask.safetensors
    """
    if not bags:
        raise ZmaskError("Name at least one bag of clean drives.")
    description = read_description(segmenter)
    known = None if profile is None else load_profile(profile)
    check_segmenter_place(description, output)
    if output.exists() and not overwrite:
        raise ZmaskError(f"{output} is there already: name another output, or replace it by --force.")
    # It learns in float32, and runs in whatever the description says.
    network = build_segmenter(replace(description, precision="float32", compiled=False), device)
    if known is not None:
        check_binding(known.binding, network, known.bound_layers)
    sources = CleanSources(None, bags, topic, every, MOST_TRAINING_FRAMES, significant_bits)
    frames = read_frames(network, sources, progress)
    check_enough_frames(frames)
    learned, unseen = ([own.image for own in frames if own.held_out == held_out] for held_out in (False, True))
    began = time.monotonic()
    settings = FineTuningSettings(steps, learning_rate)
    with kept_training(output) as state:
        with progress("Fine-tuning", "steps", steps) as advance:
            tuned = fine_tune(network, learned, settings, known, advance, state)
        trial = RobustnessTrial.of(network, learned, unseen)
        before, after = (trial.robustness(own, trial_steps, progress) for own in (network, tuned))
        save_segmenter(tuned, output, f"{network.name}, fine-tuned against patches by zmask finetune, {steps} steps.")
    seconds = round(time.monotonic() - began, 1)
    if as_json:
        print_json({"network": str(output), "before": asdict(before), "after": asdict(after), "seconds": seconds})
    else:
        _print(before, after, output, seconds)


def _print(before: Robustness, after: Robustness, output: Path, seconds: float) -> None:
    called = {
        "clean": "clean frames, mIoU",
        "attacked": "with a patch made against it, mIoU",
        "clean_pixels": "clean frames, pixels",
        "attacked_pixels": "with a patch made against it, pixels",
    }
    old, new = asdict(before), asdict(after)
    rows: list[tuple[Any, ...]] = [(text, figure(old[name]), figure(new[name])) for name, text in called.items()]
    print_rows("Held-out frames, against what the old network says of them when clean", rows, ("", "old", "new"))
    stdout.print(
        f"{output}: after {seconds} s. Fit or prepare a profile for it: the old one belongs to the old network."
    )

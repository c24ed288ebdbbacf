"""`zmask prepare`: clean drives and a network to the best profile that can be had in the time given."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from zmask_ros.cli import options
from zmask_ros.cli.console import figure, print_json, print_rows, progress, stdout, warn
from zmask_ros.cli.fleet import pool_settings, report_tally, worker_options
from zmask_ros.cli.main import INTERRUPTED
from zmask_ros.cli.options import begun_with
from zmask_ros.cli.profile_rows import remarks, summary
from zmask_ros.data.street.pictures import street_pictures
from zmask_ros.defense import Defense, Profile, load_profile, save_profile
from zmask_ros.defense.profile.storage import check_profile_place
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.protocol.patch_judge import PatchJudge
from zmask_ros.fleet.network import NamedNetwork
from zmask_ros.fleet.pool import RayPool
from zmask_ros.fleet.preparation import FleetHands, PreparationWork
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.benign_sources import BenignSources
from zmask_ros.training.clean_fit import UNLIKE
from zmask_ros.training.cross_fitting import FEWEST_DRIVES
from zmask_ros.training.preparation.stages import Preparation, Surroundings, check_start, prepare
from zmask_ros.training.settings import PreparationSettings
from zmask_ros.training.sources import CleanSources, read_frames

SETTINGS = PreparationSettings()
WORK_SUFFIX = ".work"
"""Of the folder beside the output that an interrupted call leaves behind."""
TIMED_FRAMES = 9
CLOCK = time.monotonic
SUMMARIZED = {
    "recovery": "recovery",
    "mask_iou": "mask iou",
    "flagged": "flagged",
    "kept": "damage that an adaptive attacker keeps",
    "false_alarms": "false alarms",
    "masked": "masked",
    "benign": "benign pictures flagged",
}
"""Figures of a `Standing`, and what they are called in the table."""


@click.command()
@options.bags
@options.topic
@options.begun_segmenter
@options.profile_output
@click.option(
    "--budget",
    type=options.DURATION,
    help="Stop after this time, such as 90s, 20min or 1h.  [default: when the profile stops getting better]",
)
@options.path(
    "--from",
    "start",
    help="Start from this profile of the same network, shipped or older: its layers and its head are kept to begin "
    "with, its statistics and thresholds become those of BAGS.",
)
@options.path(
    "--benign",
    multiple=True,
    help="Other roads and cameras without any attack: a picture, a folder of pictures, or a bag; repeatable. The head "
    "learns that they are harmless: fewer false alarms where BAGS have never been.",
)
@click.option(
    "--screen/--no-screen",
    default=True,
    show_default=True,
    help="Train a screening, if there is time: calm frames cost less, and it is one more thing that attackers can aim "
    "at. Without one its time is the head's.",
)
@click.option("--force", "overwrite", is_flag=True, help="Replace a profile that is there already, from the start on.")
@options.false_alarm_rate(default=SETTINGS.false_alarm_rate)
@options.every
@options.significant_bits
@options.threads
@options.device
@worker_options
@options.as_json
def command(
    bags: tuple[Path, ...],
    topic: str | None,
    segmenter: str | None,
    output: Path,
    budget: float | None,
    start: Path | None,
    benign: tuple[Path, ...],
    screen: bool,
    overwrite: bool,
    false_alarm_rate: float,
    every: int,
    significant_bits: int,
    device: str,
    ray: str | None,
    workers: int | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Make the best profile that can be had in the time given, from BAGS of clean drives and a network.

    Fits the statistics, attacks the network, trains the head against attackers who adapt to it, sets the thresholds
    on drives that have no part in the statistics, trains a screening if there is time, and reports what patches do
    before and after on a drive that no head has learned from. It never ends with a profile that is worse there than
    `zmask fit` alone.

    The best profile so far is always in the output. After Ctrl-C, the same command goes on where it stopped.

    With --ray, the patches that do not depend on each other, and what each of them does to a profile, are the work of
    many. The head learns on this machine, since each of its steps depends on the one before.

    \b
      zmask prepare drive_1 drive_2 drive_3 --segmenter mine.yaml -o mine.zmask.safetensors --budget 20min
      zmask prepare drive_* --segmenter mine.yaml --benign pictures_of_other_roads -o mine.zmask.safetensors
      zmask prepare new_camera --from city.zmask.safetensors -o new_camera.zmask.safetensors --budget 5min
    """
    if not bags:
        raise ZmaskError("Name at least one bag of clean drives.")
    check_profile_place(output)
    if start is not None and start.absolute() == output.absolute():
        raise ZmaskError("The output would replace the profile that it starts from: name another one.")
    work = output.with_name(output.name + WORK_SUFFIX)
    resumed = work.exists()
    if output.exists() and not resumed and not overwrite:
        raise ZmaskError(
            f"{output} is there already, and may be better: name another output, or replace it by --force."
        )
    beginning = None if start is None else load_profile(start)
    segmenter = segmenter or begun_with(beginning)
    network = load_segmenter(segmenter, device)
    check_start(network, beginning)
    others = BenignSources(benign, topic)
    others.check()
    frames = read_frames(network, CleanSources(None, bags, topic, every, SETTINGS.frames, significant_bits), progress)
    pictures = others.read(network, progress)
    kept: list[Profile] = []

    def keep(profile: Profile) -> None:
        save_profile(profile, output)
        kept.append(profile)

    around = Surroundings(PatchJudge(network), work, keep, CLOCK, progress, roads=street_pictures)
    try:
        with _hands(ray, workers, timeout, NamedNetwork.of(segmenter, device, network)) as hands:
            around = replace(around, hands=hands)
            seconds = math.inf if budget is None else budget
            settings = replace(SETTINGS, false_alarm_rate=false_alarm_rate, screen=screen)
            result = prepare(network, frames, settings, around, beginning, seconds, pictures)
    except KeyboardInterrupt:
        if not kept and not resumed:
            raise
        click.echo(f"Interrupted: the best profile so far is {output}; the same command goes on from here.", err=True)
        sys.exit(INTERRUPTED)
    unlike = (note for note in result.profile.notes if note.startswith(UNLIKE))
    for sentence in remarks(result.profile, unlike):
        warn(sentence)
    _warn_of_few_drives(result.drives)
    _warn_of_weak_patches(result.patch_steps)
    _tell_of_no_head(result)
    cost, tally = _cost(network, result), None if hands is None else hands.tally()
    if tally is not None:
        report_tally(tally)
    if as_json:
        told = _as_json(result, cost) | {"profile": str(output)}
        print_json(told | ({} if tally is None else tally.to_json()))
    else:
        _print(result, cost, output)


def _warn_of_few_drives(drives: int) -> None:
    """Say so where there are too few drives to tell how a profile does on others."""
    if drives <= FEWEST_DRIVES:
        warn(
            f"{drives} {'drive says' if drives == 1 else 'drives say'} little of how drives differ, and more frames of "
            f"new ones may be flagged than were asked for: give {FEWEST_DRIVES + 1} drives or more."
        )


def _warn_of_weak_patches(steps: int) -> None:
    """Say so where the budget was too short for patches that do harm."""
    if steps < SETTINGS.least_patch_steps:
        warn(
            f"in this budget, patches took {steps} steps, and they are weak: no head was trained, since they could not "
            f"tell whether it holds, and what is said of them says little of attackers. {SETTINGS.least_patch_steps} "
            "steps would do."
        )


def _tell_of_no_head(result: Preparation) -> None:
    """Say why the profile has the head that it began with, although patches were strong enough to train another."""
    if result.steps or result.patch_steps < SETTINGS.least_patch_steps:
        return
    if not result.rounds:
        minutes = result.stages["patches"] / 60
        warn(
            f"after {minutes:.0f} min for the patches that heads are judged by, there was no time left in this budget "
            "to train one, and the profile has the head that it began with: a budget twice as long has time for it."
        )
        return
    if result.refused:
        why = f"the best head that was trained is not taken: {result.refused}"
    else:
        why = f"of {result.rounds} heads that were trained none is better than the fitted one"
    warn(f"{why}. So this is the fitted profile. More drives and more time may give a better one.")


@contextmanager
def _hands(ray: str | None, workers: int | None, timeout: float, network: NamedNetwork) -> Iterator[FleetHands | None]:
    """What does the patches; None: this process."""
    if ray is None:
        yield None
        return
    with RayPool(PreparationWork(network), pool_settings(ray, workers, timeout, network.device)) as pool:
        yield FleetHands(pool, progress)


@torch.inference_mode()
def _cost(segmenter: Segmenter, result: Preparation) -> dict[str, float]:
    """Median milliseconds of a clean frame: the network alone, and under the defense, measured in turn."""
    defense = Defense(segmenter, result.profile.without_screen())
    alone, defended = [], []
    for image in result.reported[:TIMED_FRAMES]:
        x = segmenter.prepare(image)
        began = time.perf_counter()
        segmenter.logits(x).argmax(1).cpu()
        between = time.perf_counter()
        defense(x).first.labels.cpu()
        alone.append(between - began)
        defended.append(time.perf_counter() - between)
    return {
        name: 1000 * sorted(times)[len(times) // 2]
        for name, times in (("network_ms", alone), ("defended_ms", defended))
    }


def _as_json(result: Preparation, cost: dict[str, float]) -> dict[str, Any]:
    before, after = result.before, result.after
    compared = {name: {"before": getattr(before, name), "after": getattr(after, name)} for name in SUMMARIZED}
    return summary(result.profile) | {
        **compared,
        "patches": {
            kind: {"before": vars(before.by_kind[kind]), "after": vars(own)} for kind, own in after.by_kind.items()
        },
        "held_out": result.held_out,
        "steps": result.steps,
        "rounds": result.rounds,
        "refused": result.refused,
        "patch_steps": result.patch_steps,
        "screened": result.profile.screen is not None,
        "cost": cost,
        "seconds": round(result.seconds, 1),
        "stages": {name: round(seconds, 1) for name, seconds in result.stages.items()},
    }


def _print(result: Preparation, cost: dict[str, float], output: Path) -> None:
    before, after = result.before, result.after
    rows: list[tuple[str, str, str]] = []
    for kind, own in after.by_kind.items():
        rows.append((f"mIoU under attack: {kind}", figure(before.by_kind[kind].attacked), figure(own.attacked)))
        rows.append((f"mIoU defended: {kind}", figure(before.by_kind[kind].defended), figure(own.defended)))
        rows.append((f"mIoU, exact mask: {kind}", figure(before.by_kind[kind].oracle), figure(own.oracle)))
    rows += [(title, figure(getattr(before, name)), figure(getattr(after, name))) for name, title in SUMMARIZED.items()]
    print_rows(f"On {result.held_out}, which took part in nothing", rows, ("", "zmask fit alone", "prepared"))
    stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.stages.items())
    screen = "with a screening" if result.profile.screen is not None else "no screening"
    for line in (
        f"Profile {output}: head trained for {result.steps} steps, {screen}.",
        f"A clean frame takes {cost['network_ms']:.0f} ms without and {cost['defended_ms']:.0f} ms with the defense.",
        f"{result.seconds:.0f} seconds: {stages}.",
    ):
        stdout.print(line, markup=False, highlight=False, soft_wrap=True)

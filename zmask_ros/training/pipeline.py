"""TODO."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from zmask_ros.attacks import Step, to_uint8, train_patch
from zmask_ros.cli.console import progress, warn
from zmask_ros.defense import Profile
from zmask_ros.defense.profile.merging import check_mergeable
from zmask_ros.defense.profile.profile import OURS
from zmask_ros.io.bags.reader import CameraBags, ReadReport
from zmask_ros.io.prefetch import ahead
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.adversarial import harden, with_head
from zmask_ros.training.calibration import graded_recipes
from zmask_ros.training.clean_fit import CleanFit, CleanFrame, ProfileFit
from zmask_ros.training.examples import Examples, Material, NamedPatch, Part, make_examples
from zmask_ros.training.layer_selection import LayerChoice, choose_plan, choosing_passes
from zmask_ros.training.plans import PLANS

SEED_GOING_ON = 100_000
"""Of a training that goes on: other rivals than those that began."""


def train_graded(
    segmenter: Segmenter, profile: Profile, frames: Sequence[CleanFrame], count: int, steps: int
) -> list[NamedPatch]:
    """Patches of graded strength, trained on the frames that are not held out; the network's own labels are right."""
    known = [(frame.image, None) for frame in frames if not CleanFit.is_held_out(frame.index)]
    trained = []
    with progress("Training patches", "steps", count * steps) as advance:

        def show(step: Step) -> None:
            advance(note=f"{step.pixel_accuracy:.1%} of pixels right")

        for recipe in graded_recipes(count, steps, segmenter.input_size):
            patch = train_patch(segmenter, known, recipe, show, profile).patch
            name = f"trained here ({recipe.size[1]}x{recipe.size[0]}, beta {recipe.beta:.2g}, seed {recipe.seed})"
            trained.append(NamedPatch(name, to_uint8(patch)))
    return trained


def refit(
    segmenter: Segmenter, frames: Sequence[CleanFrame], material: Material, rate: float
) -> tuple[Profile, LayerChoice]:
    """Choose layers on the training part, and fit them on all clean frames."""
    with progress("Choosing layers", "images", choosing_passes(material.training)) as advance:
        plan, choice = choose_plan(segmenter, material.training, advance)
    fit = ProfileFit(segmenter, plan)
    with progress("Fitting", "frames", len(frames)) as advance:
        for frame in frames:
            fit.add(frame)
            advance()
    return fit.finish(rate), choice


def face_rivals(segmenter: Segmenter, profile: Profile, material: Material, steps: int) -> tuple[Profile, Material]:
    """A head for ``profile``, trained against rivals, and their patches added to the training part.

    A head of the same layers is trained on, against new rivals.
    """
    frames, layers, seed = material.training.frames, segmenter.description.head_layers, 0
    if profile.detector.head is None or profile.detector.head.branch.layers != layers:
        with progress("Fitting the head's layers", "frames", len(frames)) as advance:
            profile = with_head(segmenter, profile, layers, frames, advance=advance)
    else:
        seed = SEED_GOING_ON
    with progress("Training the head", "steps", steps) as advance:
        hardened = harden(segmenter, profile, frames, steps, seed, lambda loss: advance(note=f"loss {loss:.2f}"))
    named = tuple(NamedPatch(f"rival {n}", to_uint8(patch)) for n, patch in enumerate(hardened.patches))
    training = replace(material.training, patches=material.training.patches + named)
    return hardened.profile, replace(material, training=training)


def look(segmenter: Segmenter, profile: Profile, part: Part) -> Examples:
    """`make_examples`, with a progress bar."""
    with progress("Looking", "images", part.pictures) as advance:
        return make_examples(segmenter, profile, part, advance)


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

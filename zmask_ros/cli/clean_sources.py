"""What `zmask calibrate` and `zmask screen` learn from: clean frames, each with its place in its drive, and patches."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from zmask_ros.attacks import load_patch
from zmask_ros.attacks.files import patches_in
from zmask_ros.cli import options
from zmask_ros.cli.console import progress
from zmask_ros.errors import ZmaskError
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.clean_fit import CleanFrame
from zmask_ros.training.examples import NamedPatch, at_input_size
from zmask_ros.training.sources import CleanSources

PASSES_A_RIVALS_STEP = 20
"""Of a head's training: forward and backward of all batches of a step, in forward passes of one image."""
LEAST_RIVALS = 300
"""Steps: for about the first half of these, all rivals are still noise and a head learns nothing."""
TIMED_PASSES = 9


CLEAN_SOURCE_OPTIONS = (
    click.option(
        "--clean",
        "bags",
        type=click.Path(path_type=Path),
        multiple=True,
        help="Bag of a clean drive, best the one that was fitted on; repeatable.",
    ),
    click.option(
        "--camvid", type=click.Path(path_type=Path), help="Clean frames of CamVid's training split; its root."
    ),
    options.topic,
    click.option(
        "--every",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Take each N-th frame of the bags only: as it was for `zmask fit`, to hold out the same frames.",
    ),
    click.option(
        "--frames",
        type=click.IntRange(min=50),
        default=400,
        show_default=True,
        help="About so many clean frames from each source, evenly over it; every fifth is held out.",
    ),
)


def clean_source_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name clean frames; the command gets them as its ``sources``, `CleanSources`."""

    @functools.wraps(command)
    def with_sources(
        camvid: Path | None, bags: tuple[Path, ...], topic: str | None, every: int, frames: int, **others: Any
    ) -> None:
        command(sources=CleanSources(camvid, bags, topic, every, frames), **others)

    decorated: Callable[..., None] = with_sources
    for option in reversed(CLEAN_SOURCE_OPTIONS):
        decorated = option(decorated)
    return decorated


def check_enough_rivals(steps: int) -> None:
    """Refuse a training that ends before it begins: it would leave a head as it was, and say nothing.

    Raises:
        ZmaskError: ``steps`` are too few; 0 is none at all.
    """
    if 0 < steps < LEAST_RIVALS:
        raise ZmaskError(f"{steps} steps are too few for the head to learn: --rivals {LEAST_RIVALS} at least.")


def read_frames(segmenter: Segmenter, sources: CleanSources) -> list[CleanFrame]:
    """All clean frames, at the network's input size."""
    frames = []
    with progress("Reading", "frames", None) as advance:
        for frame in sources:
            frames.append(replace(frame, image=at_input_size(segmenter, frame.image)))
            advance()
    return frames


def read_patches(paths: Sequence[Path]) -> list[NamedPatch]:
    """The patches in these files and folders.

    Raises:
        ZmaskError: a file is no picture, or a folder has none.
    """
    files: list[Path] = []
    for path in paths:
        inside = patches_in(path) if path.is_dir() else [path]
        if not inside:
            raise ZmaskError(f"There are no PNG files in {path}: name a folder of patches, made by zmask attack.")
        files += inside
    return [NamedPatch(file.name, load_patch(file)) for file in files]


def announce(segmenter: Segmenter, frames: Sequence[CleanFrame], passes: int, further_s: float = 0.0) -> None:
    """Say how long it will take: so many passes of one of ``frames`` through the network, and seconds beside them."""
    seconds = passes * _seconds_a_pass(segmenter, frames) + further_s
    click.echo(f"{len(frames)} clean frames; this will take about {max(1, round(seconds / 60))} min.", err=True)


def _seconds_a_pass(segmenter: Segmenter, frames: Sequence[CleanFrame]) -> float:
    times = []
    with torch.inference_mode():
        for frame in frames[:TIMED_PASSES]:
            began = time.perf_counter()
            segmenter.logits(segmenter.prepare(frame.image)).argmax(1).cpu()
            times.append(time.perf_counter() - began)
    # The first passes are slower than all others.
    return statistics.median(times) if times else 0.0

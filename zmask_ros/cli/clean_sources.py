"""What `zmask calibrate` and `zmask screen` share: the options that name clean frames, and how these are read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from zmask_ros.cli import options
from zmask_ros.cli.console import progress
from zmask_ros.defense import Profile, check_binding
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.division import check_enough_frames
from zmask_ros.training.sources import CleanFrame, CleanSources, read_frames

CLEAN_SOURCE_OPTIONS = (
    options.path(
        "--clean", "bags", multiple=True, help="Bag of a clean drive, best the one that was fitted on; repeatable."
    ),
    options.path("--camvid", help="Clean frames of CamVid's training split; its root."),
    options.topic,
    click.option(
        "--every",
        type=options.COUNT,
        default=1,
        help="Take each N-th frame of the bags only: as it was for `zmask fit`, to hold out the same frames.",
    ),
    options.significant_bits,
    click.option(
        "--frames",
        type=click.IntRange(min=50),
        default=400,
        help="About so many clean frames from each source, evenly over it; every fifth is held out.",
    ),
)


def clean_source_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name clean frames; the command gets them as its ``sources``, `CleanSources`."""

    @functools.wraps(command)
    def with_sources(**given: Any) -> None:
        sources = CleanSources(**{own.name: given.pop(own.name) for own in fields(CleanSources)})
        command(sources=sources, **given)

    return functools.reduce(lambda decorated, option: option(decorated), reversed(CLEAN_SOURCE_OPTIONS), with_sources)


def read_clean(
    profile: Profile, segmenter: str | None, device: str, sources: CleanSources
) -> tuple[Segmenter, list[CleanFrame]]:
    """The network of a profile, by default the one that it names, and the clean frames.

    Raises:
        ZmaskError: the profile belongs to another network, or frames cannot be read or are too few.
    """
    network = load_segmenter(segmenter or options.named_by(profile), device)
    check_binding(profile.binding, network, tuple(profile.binding.shapes))
    clean = read_frames(network, sources, progress)
    check_enough_frames(clean)
    return network, clean


def announce(frames: list[CleanFrame], seconds: float) -> None:
    """Say how long it will take."""
    click.echo(f"{len(frames)} clean frames; this will take about {max(1, round(seconds / 60))} min.", err=True)

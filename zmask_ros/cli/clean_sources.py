"""The options by which `zmask calibrate` and `zmask screen` are given clean frames."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from zmask_ros.cli import options
from zmask_ros.training.sources import CleanFrame, CleanSources

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


def announce(frames: Sequence[CleanFrame], seconds: float) -> None:
    """Say how long it will take."""
    click.echo(f"{len(frames)} clean frames; this will take about {max(1, round(seconds / 60))} min.", err=True)

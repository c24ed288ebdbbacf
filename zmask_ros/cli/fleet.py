"""Options of the commands that can work on many machines, and what they print of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from zmask_ros.cli import options
from zmask_ros.cli.console import warn
from zmask_ros.errors import ZmaskError
from zmask_ros.fleet.bag_cache import GIB, BagCache
from zmask_ros.fleet.bag_names import is_remote
from zmask_ros.fleet.pool import AUTO, PoolSettings
from zmask_ros.fleet.tally import FleetTally

PARTLY_DONE = 3
"""Exit code: there is a result, but bags or frames were skipped."""

Command = TypeVar("Command", bound=Callable[..., Any])

_WORKERS = (
    click.option(
        "--ray",
        is_flag=False,
        flag_value=AUTO,
        metavar="[ADDRESS]",
        help="Work on a Ray cluster: auto (also without a value, then behind BAGS), the one that runs here, else one "
        "of this machine alone; local: always the latter; or an address.",
    ),
    click.option("--workers", type=options.COUNT, help="With --ray: most workers.  [default: as many as have CPUs]"),
    click.option(
        "--timeout",
        type=options.DURATION,
        default="10min",
        help="With --ray: give up what made no step for so long.",
    ),
)
_CACHE = click.option(
    "--cache",
    type=options.FloatRange(min=0, min_open=True),
    default=20.0,
    help="With --ray: GiB that bags from elsewhere may take on each machine's disk.",
)


def worker_options(command: Command) -> Command:
    """Add the options of who works to a command."""
    for option in reversed(_WORKERS):
        command = option(command)
    return command


def fleet_options(command: Command) -> Command:
    """Add the options of who works, and of what reads bags from elsewhere, to a command."""
    return worker_options(_CACHE(command))


def pool_settings(ray: str, workers: int | None, timeout: float, device: str) -> PoolSettings:
    """Who works; each worker has a GPU of its own where that was asked for, and the CPU threads of ``--threads``."""
    threads = options.asked_threads() or 1
    return PoolSettings(ray, workers, timeout, gpus=float(device.startswith("cuda")), threads=threads)


def bag_cache(gib: float) -> BagCache:
    """The cache of each machine."""
    return BagCache(most_bytes=int(gib * GIB))


def local_bags(names: tuple[str, ...]) -> tuple[Path, ...]:
    """The bags that one process reads.

    Raises:
        ZmaskError: one lies elsewhere.
    """
    for name in names:
        if is_remote(name):
            raise ZmaskError(f"{name} lies elsewhere, which takes workers that fetch it: add --ray.")
    return tuple(map(Path, names))


def report_tally(tally: FleetTally) -> None:
    """Say on stderr how the work went."""
    for skipped in tally.skipped:
        warn(f"skipped {skipped.bag}: {skipped.reason}")
    lost = f"; {len(tally.skipped)} skipped" if tally.skipped else ""
    click.echo(f"{tally.workers} workers; {tally.retried} tasks done again{lost}", err=True)


def exit_with(tally: FleetTally) -> None:
    """End the process with the code for a result that lacks bags, where some were skipped."""
    if tally.skipped:
        sys.exit(PARTLY_DONE)

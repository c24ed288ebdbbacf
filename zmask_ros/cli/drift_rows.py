"""What commands say of the distance between a drive and a profile: a table over time, and a plot."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zmask_ros.cli.console import warn
from zmask_ros.flags.drift import Drift, DriftLevel
from zmask_ros.io.files import check_place
from zmask_ros.runtime.replay import Replayed
from zmask_ros.runtime.replay_figures import LEVELS

MOST_ROWS = 12


def needs_action(drift: Drift) -> bool:
    """Whether the user has to do something about the profile."""
    return drift.level(LEVELS) in (DriftLevel.WARN, DriftLevel.ERROR)


def warn_of_torch(replayed: Replayed) -> None:
    """Say why the network ran in torch although an engine was tried, if it did."""
    if replayed.engine_reason:
        warn(f"the network runs in torch: {replayed.engine_reason}")


def drift_over_time(replayed: Replayed) -> list[dict[str, Any]]:
    """The distance over a drive, JSON-ready: one entry for each frame after which it changed."""
    entries: list[dict[str, Any]] = []
    last: Drift | None = None
    begin = replayed.stamps_ns[0] if replayed.stamps_ns else 0
    for stamp, drift in zip(replayed.stamps_ns, replayed.drifts, strict=True):
        if drift is not last and not math.isnan(drift.distance):
            level = drift.level(LEVELS).name
            entries.append({"s": (stamp - begin) / 1e9, "distance": drift.distance, "level": level})
        last = drift
    return entries


def spread_rows(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most `MOST_ROWS` of the entries, evenly over them, the last one included."""
    if len(entries) <= MOST_ROWS:
        return list(entries)
    return [entries[round(place * (len(entries) - 1) / (MOST_ROWS - 1))] for place in range(MOST_ROWS)]


def check_plot(path: Path) -> None:
    """Refuse a plot that could not be written, before an hour is replayed for it.

    Raises:
        ZmaskError: the folder is not there.
        ModuleNotFoundError: matplotlib is not installed.
    """
    check_place(path)
    importlib.import_module("matplotlib")


def plot_replay(replayed: Replayed, path: Path) -> None:
    """Write a plot of the score of fully analyzed frames, and of the distance from the profile, over time."""
    # It takes a second to import: commands start without it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    begin = min(replayed.stamps_ns, default=0)
    seconds = [(stamp - begin) / 1e9 for stamp in replayed.stamps_ns]
    whole = [
        (second, flag.score)
        for second, flag, analyzed in zip(seconds, replayed.flags, replayed.analyzed, strict=True)
        if analyzed
    ]
    above.plot(*zip(*whole, strict=True) if whole else ((), ()), ".", markersize=3)
    if replayed.flags:
        above.axhline(replayed.flags[-1].threshold, color="tab:red", linestyle="--", label="threshold")
        above.legend(loc="upper right")
    above.set(ylabel="score", title="Replay")
    below.plot(seconds, [drift.distance for drift in replayed.drifts])
    below.axhline(LEVELS.warn, color="tab:orange", linestyle="--", label="warning")
    below.axhline(LEVELS.error, color="tab:red", linestyle="--", label="error")
    below.legend(loc="upper right")
    below.set(xlabel="seconds", ylabel="distance from the profile", ylim=(0, None))
    figure.savefig(path)

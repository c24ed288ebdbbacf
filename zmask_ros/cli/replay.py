"""`zmask replay`: the defense over a bag, without ROS."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import click

from zmask_ros.cli import options
from zmask_ros.cli.console import figure, print_json, print_table, progress, warn
from zmask_ros.cli.drift_rows import check_plot, needs_action, plot_replay, warn_of_torch
from zmask_ros.cli.fleet import bag_cache, exit_with, fleet_options, local_bags, pool_settings, report_tally
from zmask_ros.defense.drift.reference import NO_REFERENCE
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.flag import FrameState
from zmask_ros.fleet.bag_names import named_bags
from zmask_ros.fleet.replay import FleetReplay, replay_fleet
from zmask_ros.fleet.report import fleet_html
from zmask_ros.fleet.results import results_of
from zmask_ros.io.files import check_place, replace_file
from zmask_ros.runtime.replay import Replayed, ReplaySettings, replay
from zmask_ros.runtime.replay_figures import LEVELS, replay_figures, typical_drift


@click.command()
@click.argument("bags", nargs=-1, required=True)
@options.topic
@options.defended_segmenter
@options.path("--profile", help="Profile; by default the segmenter's shipped one.")
@options.path("-o", "--output", help="Bag to write: OUT.mcap, or a folder.")
@options.path("--video", help="Video of the overlay: OUT.mp4.")
@options.path("--rerun", help="Recording for the Rerun viewer, with everything over time: OUT.rrd.")
@click.option("--view", is_flag=True, help="Open the Rerun viewer, and show each frame in it as it is replayed.")
@options.path("--plot", help="Plot of the score and of the distance from the profile over time: OUT.png or OUT.svg.")
@click.option("--threshold", type=options.FloatRange(min=0), help="Flag above this score instead of the profile's.")
@click.option(
    "--streaming",
    is_flag=True,
    help="Screen clean frames, and take a known patch out in one pass, as the node does by default.",
)
@options.every
@options.significant_bits
@options.runtime
@options.graphs
@options.threads
@options.device
@options.force
@fleet_options
@options.path("--report", default="fleet.html", help="With --ray: page on all drives, OUT.html.")
@options.as_json
def command(
    bags: tuple[str, ...],
    as_json: bool,
    plot: Path | None,
    report: Path,
    ray: str | None,
    workers: int | None,
    timeout: float,
    cache: float,
    **settings: Any,
) -> None:
    """Run the defense over the camera topic of BAGS, as fast as the machine allows; no ROS needed.

    The bag that is written has the topics that the node publishes, with the header stamps of the input, and the
    input image itself, so that RViz or Foxglove can show them side by side. Of frames that were segmented once only,
    with --streaming, there is no undefended segmentation.

    --rerun and --view show the same, with scores and thresholds over time; they need the Rerun SDK
    (pip install rerun-sdk).

    With --ray there may be many bags, each of them a drive; a page says of each what was flagged.

    \b
      zmask replay drive_7 --topic /camera/image_raw -o out.mcap --video out.mp4
      zmask replay drive_7 --topic /camera/image_raw --rerun out.rrd && rerun out.rrd
      zmask replay 's3://fleet/*.mcap' --topic /camera/image_raw --report fleet.html --ray
    """
    settings["segmenter"] = options.named_segmenter(settings["segmenter"], settings["profile"])
    if ray is not None:
        _check_only_the_report(settings, plot)
        check_place(report)
        pool = pool_settings(ray, workers, timeout, settings["device"])
        own = ReplaySettings(Path(bags[0]), **settings)
        done = replay_fleet(named_bags(bags), own, bag_cache(cache), pool, results_of(report), progress)
        _report_fleet(done, report, as_json)
        return
    if len(bags) > 1:
        raise ZmaskError("One process replays one bag: add --ray for several.")
    if plot is not None:
        check_plot(plot)
    (bag,) = local_bags(bags)
    replayed = replay(ReplaySettings(bag, **settings), progress)
    _report_drive(replayed, plot, as_json)


def _check_only_the_report(settings: dict[str, Any], plot: Path | None) -> None:
    """Refuse to write more of many drives than a page.

    Raises:
        ZmaskError: that is asked for.
    """
    asked = settings | {"plot": plot}
    for name in ("output", "video", "rerun", "view", "plot"):
        if asked[name]:
            raise ZmaskError(f"--{name} is of one drive: replay it alone, without --ray.")


def _report_fleet(done: FleetReplay, report: Path, as_json: bool) -> None:
    replace_file(report, fleet_html(done).encode())
    shutil.rmtree(results_of(report), ignore_errors=True)
    report_tally(done.tally)
    figures = done.figures() | {"report": str(report)}
    if as_json:
        print_json(figures | {"each": [drive.to_json() for drive in done.drives]} | done.tally.to_json())
    else:
        print_table("Replay", {name: figure(value) for name, value in figures.items()})
    exit_with(done.tally)


def _report_drive(replayed: Replayed, plot: Path | None, as_json: bool) -> None:
    figures = replay_figures(replayed)
    if plot is not None:
        plot_replay(replayed, plot)
    warn_of_torch(replayed)
    for sentence in replayed.warnings():
        warn(sentence)
    unknown = [flag.reason for flag in replayed.flags if flag.state is FrameState.UNKNOWN]
    if unknown:
        warn(f"{len(unknown)} frames are unknown, the first: {unknown[0]}")
    remarks = Counter(flag.remark for flag in replayed.flags if flag.remark)
    if remarks:
        warn(f"{remarks.total()} frames have a verdict with a remark, the first: {next(iter(remarks))}")
    typical = typical_drift(replayed.drifts)
    if needs_action(typical):
        warn(f"{typical.advice(LEVELS)}.")
    elif typical.reason == NO_REFERENCE:
        warn(f"whether the profile fits is unknown: {typical.reason}")
    if as_json:
        print_json(figures | {"remarks": dict(remarks)})
    else:
        print_table("Replay", {name: figure(value) for name, value in figures.items()})

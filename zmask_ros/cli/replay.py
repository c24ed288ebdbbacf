"""`zmask replay`: the defense over a bag, without ROS."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np

from zmask_ros.cli import options
from zmask_ros.cli.console import figure, print_json, print_table, progress, warn
from zmask_ros.cli.drift_rows import LEVELS, drift_figures, needs_action, plot_replay, typical_drift
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.files import check_place
from zmask_ros.io.stamps import NANOSECONDS, duration_ns
from zmask_ros.runtime.replay import Replayed, ReplaySettings, replay


@click.command()
@click.argument("bag", type=options.PATH)
@options.topic
@options.segmenter
@options.path("--profile", help="Profile; by default the segmenter's shipped one.")
@options.path("-o", "--output", help="Bag to write: OUT.mcap, or a folder.")
@options.path("--video", help="Video of the overlay: OUT.mp4.")
@options.path("--rerun", help="Recording for the Rerun viewer, with everything over time: OUT.rrd.")
@click.option("--view", is_flag=True, help="Open the Rerun viewer, and show each frame in it as it is replayed.")
@options.path("--plot", help="Plot of the score and of the distance from the profile over time: OUT.png or OUT.svg.")
@click.option("--threshold", type=click.FloatRange(min=0), help="Flag above this score instead of the profile's.")
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
@options.as_json
def command(as_json: bool, plot: Path | None, **settings: Any) -> None:
    """Run the defence over the camera topic of BAG, as fast as the machine allows; no ROS needed.

    The bag that is written has the topics that the node publishes, with the header stamps of the input, and the
    input image itself, so that RViz or Foxglove can show them side by side. Of frames that were segmented once only,
    with --streaming, there is no undefended segmentation.

    --rerun and --view show the same, with scores and thresholds over time; they need the Rerun SDK
    (pip install rerun-sdk).

    \b
      zmask replay drive_7 --topic /camera/image_raw -o out.mcap --video out.mp4
      zmask replay drive_7 --topic /camera/image_raw --rerun out.rrd && rerun out.rrd
    """
    if plot is not None:
        check_place(plot)
    replayed = replay(ReplaySettings(**settings), progress)
    report, figures = replayed.report, _figures(replayed)
    if plot is not None:
        plot_replay(replayed, plot)
    if replayed.engine_reason:
        warn(f"the network runs in torch: {replayed.engine_reason}")
    for sentence in report.warnings():
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
    if as_json:
        print_json(figures | {"remarks": dict(remarks)})
    else:
        print_table("Replay", {name: figure(value) for name, value in figures.items()})


def _figures(replayed: Replayed) -> dict[str, Any]:
    """JSON-ready."""
    flags, stamps_ns, seconds = replayed.flags, replayed.stamps_ns, max(replayed.seconds, 1e-9)
    states = [flag.state for flag in flags]
    # The score of the screening is another head's: it says nothing about the thresholds.
    scores = [flag.score for flag, whole in zip(flags, replayed.analyzed, strict=True) if whole]
    return {
        "engine": replayed.engine,
        "frames": len(flags),
        "flagged": states.count(FrameState.ATTACK),
        "masked": sum(flag.mask_fraction > 0 for flag in flags),
        "alarms": replayed.alarms,
        "unknown": states.count(FrameState.UNKNOWN),
        "segmented_once": replayed.tracked,
        "analysed_as_a_whole": len(scores),
        "score_p50": _percentile(scores, 50),
        "score_p99": _percentile(scores, 99),
        **drift_figures(replayed.drifts),
        "frame_ms_p50": _percentile([flag.latency_ms for flag in flags], 50),
        "frame_ms_p99": _percentile([flag.latency_ms for flag in flags], 99),
        "frames_per_s": len(flags) / seconds,
        "times_real_time": duration_ns(stamps_ns) / NANOSECONDS / seconds,
    }


def _percentile(values: list[float], share: float) -> float | None:
    return float(np.percentile(values, share)) if values else None

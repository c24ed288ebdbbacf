"""`zmask replay`: the defense over a bag, without ROS."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from zmask_ros.cli import options
from zmask_ros.cli.console import figure, print_json, print_table, progress, warn
from zmask_ros.runtime.replay import Replayed, ReplaySettings, replay


@click.command()
@click.argument("bag", type=click.Path(path_type=Path))
@options.topic
@options.segmenter
@click.option("--profile", type=click.Path(path_type=Path), help="Profile; by default the segmenter's shipped one.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Bag to write: OUT.mcap, or a folder.")
@click.option("--video", type=click.Path(path_type=Path), help="Video of the overlay: OUT.mp4.")
@click.option("--threshold", type=click.FloatRange(min=0), help="Flag above this score instead of the profile's.")
@click.option(
    "--streaming",
    is_flag=True,
    help="Glance at clean frames, and take a known patch out in one pass, as the node does by default.",
)
@options.every
@options.device
@click.option("--force", is_flag=True, help="Replace a bag that is there already.")
@options.as_json
def command(
    bag: Path,
    topic: str | None,
    segmenter: str,
    profile: Path | None,
    output: Path | None,
    video: Path | None,
    threshold: float | None,
    streaming: bool,
    every: int,
    device: str,
    force: bool,
    as_json: bool,
) -> None:
    """Run the defence over the camera topic of BAG, as fast as the machine allows; no ROS needed.

    The bag that is written has the topics that the node publishes, with the header stamps of the input, and the
    input image itself, so that RViz or Foxglove can show them side by side. Of frames that were segmented once only,
    with --streaming, there is no undefended segmentation.

    \b
      zmask replay drive_7 --topic /camera/image_raw -o out.mcap --video out.mp4
    """
    settings = ReplaySettings(
        bag, segmenter, device, topic, every, profile, threshold, streaming, output, overwrite=force, video=video
    )
    _tell(replay(settings, progress), as_json)


def _tell(replayed: Replayed, as_json: bool) -> None:
    report, summary = replayed.report, asdict(replayed.summary)
    for sentence in report.truncated:
        warn(sentence)
    if report.broken:
        warn(f"{report.broken} messages could not be deserialised, the first: {report.first_broken}")
    if replayed.first_unknown:
        warn(f"{replayed.summary.unknown} frames are unknown, the first: {replayed.first_unknown}")
    if as_json:
        print_json(summary)
        return
    print_table("Replay", {name: figure(value) for name, value in summary.items()})

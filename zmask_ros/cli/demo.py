"""`zmask demo`: the whole way, from clean drives to a defended one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from zmask_ros.cli import options
from zmask_ros.cli.console import figure, print_json, print_rows, progress
from zmask_ros.demo.aims import judge, verdict
from zmask_ros.demo.processes import NodeFailedError
from zmask_ros.demo.run import DemoResult, run_demo
from zmask_ros.demo.scenario import CARRIERS, CLEAN_FRAMES, DemoSettings, Scenario

DEFAULT = Scenario()


@click.command()
@options.path("--out", "folder", default=Path("out/demo"), help="Folder.")
@options.path("--patch", help="Picture to attack with.  [default: the shipped one]")
@click.option("--seed", type=click.IntRange(min=0), default=DEFAULT.seed, help="Which street.")
@click.option("--carrier", type=click.Choice(CARRIERS), default=DEFAULT.carrier, help="Shows it.")
@click.option("--seconds", type=options.FloatRange(min=1), default=DEFAULT.seconds, help="Of the drive.")
@click.option("--rate", type=options.FloatRange(min=0.5, max=60), default=DEFAULT.rate_hz, help="Frames a second.")
@click.option(
    "--picture",
    "picture_s",
    type=options.FloatRange(min=0),
    nargs=2,
    default=(DEFAULT.picture_from_s, DEFAULT.picture_until_s),
    help="From which second until which the patch is shown; before and after, an advertisement.",
)
@click.option(
    "--clean-drives",
    type=click.IntRange(min=2),
    default=15,
    help=f"Drives to fit the profile on, of {CLEAN_FRAMES} frames each.",
)
@options.segmenter
@options.threads
@options.device
@click.option(
    "--fresh", is_flag=True, help="Record the clean drives and fit the profile anew, even if nothing changed."
)
@options.as_json
def command(
    seed: int, carrier: str, seconds: float, rate: float, picture_s: tuple[float, float], as_json: bool, **chosen: Any
) -> None:
    """Drive behind a truck that carries an adversarial patch, defended, through real ROS 2 nodes; no camera needed.

    What a vehicle does, on the street world: clean drives are recorded into a bag and a profile is fitted on it (both
    are kept for the next run); then street_camera, defense_node and recorder run as three processes with DDS between
    them. What was recorded is compared with the exact truth, the table printed, and left in the folder:

    \b
      drive                the bag: camera, flags, masks, segmentations (RViz, Foxglove, ros2 bag play)
      overlay.mp4          what RViz would have shown
      contact_sheet.png    five moments: camera, attacked segmentation, mask, defended segmentation
      summary.json         the figures of the table, and which aims were met
      clean.mcap, street.zmask.safetensors    the clean drives and the profile

    The table says which aims were met, and the line below it at which share of real time the drive ran. A missed aim
    changes nothing in the exit code, which is 1 only if a frame that was sent got no flag.

    Needs the package built with its messages: `make demo`, or after
    `colcon build` and sourcing install/setup.bash,

    \b
      zmask demo
      zmask demo --carrier truck --patch mine.png --seed 7 --picture 5 15
    """
    scenario = Scenario(seed, seconds, rate, carrier, *picture_s)
    settings = DemoSettings(scenario=scenario, threads=options.asked_threads() or 0, **chosen)
    try:
        result = run_demo(settings, progress, lambda sentence: click.echo(sentence, err=True))
    except NodeFailedError as error:
        click.echo(error.output, err=True)
        raise
    if as_json:
        print_json(result.summary)
    else:
        _print(result, settings.folder)
    if result.unflagged:
        raise click.ClickException(f"{result.unflagged} of {result.figures.frames_sent} frames got no flag.")


def _print(result: DemoResult, folder: Path) -> None:
    """The figures as a table, each with its meaning and what came of its aim."""
    figures = result.figures
    marks = {name: found.mark for name, found in judge(figures).items()}
    rows = (
        (own.name, figure(getattr(figures, own.name)), own.metadata["meaning"], marks.get(own.name, ""))
        for own in fields(figures)
    )
    print_rows(f"Demo, results in {folder}", rows)
    click.echo(verdict(figures))

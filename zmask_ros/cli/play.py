"""`zmask play`: a bag into ROS 2 topics."""

from __future__ import annotations

from pathlib import Path

import click

from zmask_ros.cli import options
from zmask_ros.cli.nodes import run_node
from zmask_ros.node.parameters.player import PlayerParameters
from zmask_ros.node.parameters.spec import specs

HELP = {spec.name: spec.description for spec in specs(PlayerParameters)}
# As ros2 bag play takes it.
CLOCK_HZ = 40.0


@click.command()
@click.argument("path", metavar="BAG", type=options.PATH)
@click.option("--rate", default=1.0, help=HELP["rate"])
@click.option("--loop", is_flag=True, help=HELP["loop"])
@click.option(
    "--clock",
    "clock_hz",
    type=float,
    is_flag=False,
    flag_value=CLOCK_HZ,
    default=0.0,
    metavar="[HZ]",
    help=f"{HELP['clock_hz']} Without a number: {CLOCK_HZ:g}.",
)
@click.option("--delay", "delay_s", default=0.0, help=HELP["delay_s"])
@click.option("--wait", "wait_s", default=0.0, help=HELP["wait_s"])
@click.option("--topic", "topics", multiple=True, help="Full name of a topic to play; may be repeated.  [default: all]")
@click.option("--exclude-regex", default="", help=HELP["exclude_regex"])
def command(path: Path, **given: object) -> None:
    """Play BAG into ROS 2 topics until its end or Ctrl-C, as ros2 bag play does, which need not be installed.

    BAG is whatever zmask replay reads, but for bags of ROS 1; also one that is damaged. Topics have the reliability and
    durability that its metadata says they were recorded with.

    \b
      zmask play drive_7 --clock
      zmask play drive_7 --rate 0.5 --loop --clock 100 --exclude-regex '.*/zmask/.*'
    """
    run_node("play", "zmask_ros.node.player:Player", path, given)

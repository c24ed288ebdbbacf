"""`zmask record`: flags always, pictures around an attack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from zmask_ros.cli import options
from zmask_ros.cli.nodes import run_node
from zmask_ros.node.parameters.flag_recorder import FlagRecorderParameters
from zmask_ros.node.parameters.spec import specs

HELP = {spec.name: spec.description for spec in specs(FlagRecorderParameters)}
DEFAULT = FlagRecorderParameters()


def _number(option: str, name: str) -> Callable[[Any], Any]:
    """An option with a parameter's description and default; the node checks its range."""
    default = getattr(DEFAULT, name)
    return click.option(option, name, type=type(default), default=default, help=HELP[name])


@click.command()
@click.argument("path", metavar="FOLDER", type=options.PATH)
@click.option("--namespace", default="/", help="Namespace of the topics, such as /front.")
@click.option("--camera", "cameras", multiple=True, help="A camera of a node with several; may be repeated.")
@click.option(
    "--picture", "pictures", multiple=True, help=f"{HELP['pictures']}  [default: {' '.join(DEFAULT.pictures)}]"
)
@click.option("--use-sim-time", is_flag=True, help="Take the time of reception from /clock.")
@_number("--before", "before_s")
@_number("--after", "after_s")
@_number("--memory-mib", "memory_mib")
@_number("--file-mib", "file_mib")
@_number("--total-mib", "total_mib")
@_number("--sync", "sync_s")
def command(path: Path, namespace: str, **given: object) -> None:
    """Write every flag of a running defence, and the pictures around an attack, into FOLDER until Ctrl-C.

    FOLDER fills with numbered mcap files, each a bag of its own; the oldest are removed so that it never takes more
    than --total-mib. What was synced outlives a power cut: `zmask inspect` and `zmask replay` read FOLDER as it is.
    With image_transport compressed, say --picture image_raw/compressed --picture camera_info.

    \b
      zmask record /var/log/zmask/front --namespace /front
      zmask record evidence --camera front --camera rear --before 5 --after 20
    """
    run_node(
        "record", "zmask_ros.node.flag_recorder:FlagRecorder", path, given, ("-r", f"__ns:=/{namespace.strip('/')}")
    )

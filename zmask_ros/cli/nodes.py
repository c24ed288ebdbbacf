"""Commands that are a node: their options are its parameters."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from zmask_ros.errors import ZmaskError
from zmask_ros.node.main import run


def run_node(
    command: str, target: str, path: Path, given: Mapping[str, object], remapped: Sequence[str] = ()
) -> NoReturn:
    """Run a node until its end, and exit as it does.

    Args:
        command: the name of the command.
        target: module and class of the node, with a colon between.
        path: the parameter of that name, as the user wrote it.
        given: its other parameters.
        remapped: further ROS arguments.

    Raises:
        ZmaskError: ROS is not there.
    """
    try:
        importlib.import_module(target.split(":")[0])
    except ImportError as error:
        raise ZmaskError(
            f"zmask {command} needs ROS 2 and this package's messages ({error}): source their setup.bash first."
        ) from error
    parameters = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    parameters["path"] = str(path.expanduser().absolute())
    arguments = ["--ros-args", *remapped]
    for name, value in parameters.items():
        # An empty list: nothing was given, and the default counts. JSON, so that no text is taken for a number.
        if value != []:
            arguments += ["-p", f"{name}:={json.dumps(value)}"]
    sys.exit(run(target, arguments))

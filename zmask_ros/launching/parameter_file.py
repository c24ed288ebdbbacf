"""What a YAML file of parameters gives to a node, as ROS 2 reads it. Needs neither ROS nor launch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from zmask_ros.errors import ZmaskError

PARAMETERS = "ros__parameters"
# As in rcl: * is one name, ** any number of them.
WILDCARDS = {"*": r"/[^/]+", "**": r"(/[^/]+)*"}


def read_parameters(path: Path, node: str) -> dict[str, Any]:
    """The parameters of a node, those further down in the file over those above; nested names are joined by dots.

    Args:
        node: its full name, such as ``/front/defense_node``.

    Raises:
        ZmaskError: the file cannot be read, or is no file of parameters.
    """
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ZmaskError(f"params_file {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ZmaskError(f"params_file {path} has no parameters: it needs a node's name, such as /**, at the top.")
    found: dict[str, Any] = {}
    for pattern, parameters in _nodes(content):
        expression = "".join(WILDCARDS.get(part, f"/{re.escape(part)}") for part in pattern.split("/") if part)
        if re.fullmatch(expression, node):
            found |= dict(_flat(parameters))
    return found


def _nodes(content: dict[Any, Any], outer: str = "") -> Iterator[tuple[str, dict[Any, Any]]]:
    """The name of each node, or the pattern of names, with its parameters; namespaces may be nested."""
    for name, inner in content.items():
        full = f"{outer}/{str(name).strip('/')}"
        if not isinstance(inner, dict):
            continue
        if isinstance(inner.get(PARAMETERS), dict):
            yield full, inner[PARAMETERS]
        yield from _nodes({key: value for key, value in inner.items() if key != PARAMETERS}, full)


def _flat(parameters: dict[Any, Any], outer: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in parameters.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{outer}{name}.")
        else:
            yield f"{outer}{name}", value

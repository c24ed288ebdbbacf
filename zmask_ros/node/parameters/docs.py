"""Writes the parameter tables of docs/node.md from those in code: ``python -m zmask_ros.node.parameters.docs FILE``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from zmask_ros.errors import ZmaskError
from zmask_ros.io.files import replace_file
from zmask_ros.node.parameters.defense_node import CameraParameters, DefenseParameters
from zmask_ros.node.parameters.player import PlayerParameters
from zmask_ros.node.parameters.recorder import RecorderParameters
from zmask_ros.node.parameters.spec import ParameterSpec, specs
from zmask_ros.node.parameters.street_camera import StreetCameraParameters

TYPES = {bool: "bool", int: "integer", float: "double", str: "string", list: "string[]"}
HEAD = ("| Name | Type | Default | Range | Live | Description |", "|---|---|---|---|---|---|")
# Heading above each table, what it is made of, and what stands before the names.
TABLES: tuple[tuple[str, type, str], ...] = (
    ("### Parameters of defense_node", DefenseParameters, ""),
    ("### Parameters of each camera", CameraParameters, "<camera>."),
    ("### Parameters of street_camera", StreetCameraParameters, ""),
    ("### Parameters of player", PlayerParameters, ""),
    ("### Parameters of recorder", RecorderParameters, ""),
)


def with_tables(document: str) -> str:
    """The document with the first table below each heading of `TABLES` replaced.

    Raises:
        ZmaskError: a heading, or the table below it, is missing.
    """
    for heading, table, prefix in TABLES:
        rows = [_row(spec, prefix) for spec in specs(table)]
        document = _replaced(document, heading, "\n".join([*HEAD, *rows]))
    return document


def _replaced(document: str, heading: str, table: str) -> str:
    before_table, rows = rf"\n{re.escape(heading)}\n(?:[^|\n].*\n|\n)*", r"(?:\|.*\n?)+"
    found = re.search(f"({before_table}){rows}", document)
    if found is None:
        raise ZmaskError(f"There is no table below '{heading}'.")
    return f"{document[: found.end(1)]}{table}\n{document[found.end() :]}"


def _row(spec: ParameterSpec, prefix: str) -> str:
    cells = (
        f"`{prefix}{spec.name}`",
        TYPES[type(spec.default)],
        _default(spec.default),
        _range(spec),
        "yes" if spec.live else "no",
        spec.description,
    )
    return f"| {' | '.join(cells)} |"


def _default(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_default(entry) for entry in value)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else '`""`'


def _range(spec: ParameterSpec) -> str:
    if spec.choices:
        return ", ".join(_default(choice) for choice in spec.choices)
    if spec.minimum is None and spec.maximum is None:
        return ""
    if spec.maximum is None:
        return f"at least {spec.minimum:g}"
    return f"{spec.minimum:g} to {spec.maximum:g}"


def main(arguments: list[str]) -> None:
    """Write the tables of the document that is named."""
    path = Path(arguments[0])
    replace_file(path, with_tables(path.read_text()).encode())


if __name__ == "__main__":
    main(sys.argv[1:])

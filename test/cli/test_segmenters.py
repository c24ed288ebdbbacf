"""`zmask segmenters`: what it lists of a network, for people and for machines."""

from __future__ import annotations

import json
from pathlib import Path

from support.commands import zmask
from support.tiny_network import describe_with


def described(folder: Path) -> str:
    """A network whose encoder is a module within it, and whose description names no layers."""
    changes = {"builder": "support.odd_networks:BranchingEncoder", "arguments": "{}", "input_size": "[64, 96]"}
    return describe_with(folder, layers="{}", **changes)


def test_layers_that_are_chosen_are_listed_however_deep_they_lie(capsys, tmp_path):
    _, printed, _ = zmask(capsys, "segmenters", described(tmp_path), "--depth", "1", "--json")
    found = json.loads(printed)
    assert found["chosen"] == {"encoder.1": "SH", "encoder.3": "SH", "encoder.5": "DH", "norm": "DH"}
    assert found["layers"].keys() >= found["chosen"].keys()


def test_it_is_said_how_to_see_what_lies_deeper(capsys, tmp_path):
    path = described(tmp_path)
    assert "6 more lie deeper: --depth 3 shows them all." in zmask(capsys, "segmenters", path)[1]
    assert "more lie deeper" not in zmask(capsys, "segmenters", path, "--depth", "3")[1]

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
    assert found["chosen"] == {"encoder.1": "SH", "encoder.3": "SH", "encoder.4": "DH", "norm": "DH"}
    assert found["layers"].keys() >= found["chosen"].keys()


def test_it_is_said_how_to_see_what_lies_deeper(capsys, tmp_path):
    path = described(tmp_path)
    assert "6 more lie deeper: --depth 3 shows them all." in zmask(capsys, "segmenters", path)[1]
    assert "more lie deeper" not in zmask(capsys, "segmenters", path, "--depth", "3")[1]


def test_what_a_network_prints_does_not_get_into_json(capsys, tmp_path):
    path = describe_with(tmp_path, builder="support.odd_networks:Talking", arguments="{}", layers="{}")
    code, out, err = zmask(capsys, "segmenters", path, "--json")
    assert code == 0 and json.loads(out)["classes"] == ["Sky", "Road", "Car"]
    assert "net with 3 branches" in err and "shape (1, 3, " in err


def test_a_network_without_layers_is_shown_all_the_same(capsys, tmp_path):
    path = describe_with(tmp_path, builder="support.odd_networks:no_layer", arguments="{}", input_size="[64, 96]")
    code, out, err = zmask(capsys, "segmenters", path)
    told = " ".join(err.split())
    assert code == 0 and "96 x 64 pixels" in out
    assert "at least 8 channels" in told
    assert "The description names what cannot be tapped: 2" in told

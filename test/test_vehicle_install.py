"""An installation for vehicles: graphs are replayed and the node loads with the packages of its requirements alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT, tiny_network
from support.commands import record
from zmask_ros.cli.main import BAD_INPUT

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

MODULES = {"scikit-learn": "sklearn", "PyYAML": "yaml"}
"""Of packages, where these are called otherwise."""
WITHOUT = """
import sys
for name in {absent}:
    sys.modules[name] = None
"""


def packages(*files: str) -> dict[str, str]:
    """The pins of requirements files by package."""
    lines = [line for file in files for line in (ROOT / "requirements" / file).read_text().splitlines()]
    return dict(re.findall(r"^([\w-]+)==(\S+)", "\n".join(lines), re.MULTILINE))


LEFT_OUT = {*packages("torch.txt", "python.txt", "onnx.txt")} - {*packages("vehicle.txt")}
ABSENT = sorted(MODULES.get(name, name) for name in LEFT_OUT)


def on_a_vehicle(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python where nothing can be imported that a vehicle does not have."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WITHOUT.format(absent=ABSENT) + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


ZMASK = "from zmask_ros.cli.main import main\nmain()"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vehicle")
    tiny_network.fit(tiny_network.describe(folder))
    return folder


def test_the_pins_are_those_of_all_other_installations() -> None:
    own, others = packages("vehicle.txt"), packages("python.txt", "onnx.txt")
    assert {name: pin for name, pin in own.items() if name in others} == {
        name: others[name] for name in own if name in others
    }
    assert set(own) - set(others) == {"torch"}
    assert {"torchvision", "matplotlib", "sklearn", "scipy", "onnx"} == set(ABSENT)


@pytest.fixture(scope="module")
def drive(tiny: Path) -> Path:
    return record(tiny / "clean.mcap", map(tiny_network.clean_image, range(5)))


@pytest.fixture(scope="module")
def exported(tiny: Path) -> list[object]:
    """The options by which commands run the graphs of the tiny network, which are written first."""
    described, profile = tiny / "tiny_0.yaml", tiny / "tiny_0.zmask.safetensors"
    graphs = tiny / "graphs"
    arguments = ("--profile", profile, "-o", graphs)
    export = [sys.executable, "-c", ZMASK, "export", described, *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([*map(str, export)], check=True, capture_output=True, env=environment, timeout=120)
    return ["--segmenter", described, "--profile", profile, "--runtime", "onnx", "--graphs", graphs, "--json"]


def test_graphs_are_replayed(exported: list[object], drive: Path) -> None:
    replayed = on_a_vehicle(ZMASK, "replay", drive, *exported)
    assert replayed.returncode == 0, replayed.stderr
    figures = json.loads(replayed.stdout)
    assert figures["frames"] == 5
    assert figures["engine"] == "ONNX Runtime (CPU)"


def test_the_node_is_imported() -> None:
    pytest.importorskip("rclpy")
    modules = "zmask_ros.node.defense_node", "zmask_ros.runtime.camera", "zmask_ros.defense.engine"
    imported = on_a_vehicle("".join(f"import {module}\n" for module in modules))
    assert imported.returncode == 0, imported.stderr


def test_a_command_that_needs_more_says_so() -> None:
    refused = on_a_vehicle(ZMASK, "evaluate", "--help")
    assert refused.returncode == BAD_INPUT
    assert "needs the Python package scipy, which an installation for vehicles leaves out" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_option_that_needs_more_says_so_before_anything_is_replayed(tmp_path: Path) -> None:
    refused = on_a_vehicle(ZMASK, "replay", tmp_path / "no_bag", "--plot", tmp_path / "plot.png")
    assert refused.returncode == BAD_INPUT
    assert "needs the Python package matplotlib, which an installation for vehicles leaves out" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_drive_is_compared_with_a_profile_on_the_graphs(exported: list[object], drive: Path) -> None:
    compared = on_a_vehicle(ZMASK, "inspect", drive, "--every", 1, *exported)
    assert compared.returncode == 0, compared.stderr
    assert json.loads(compared.stdout)["frames"] == 5


def test_torchvision_is_named_where_a_network_of_it_has_no_graphs(tmp_path: Path) -> None:
    code = "from zmask_ros.segmenters import load_segmenter\nload_segmenter('lraspp_camvid', 'cpu')"
    assert "or name the graphs that zmask export wrote elsewhere" in on_a_vehicle(code).stderr

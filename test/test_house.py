"""Who may import whom: each contract notices an import that it forbids. `make lint` holds the code to all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read TOML")

CONFIGURATION = ROOT / "pyproject.toml"
FORBIDDEN = {
    "layers": ("io/files.py", "zmask_ros.defense"),
    "circles": ("segmenters/network.py", "zmask_ros.segmenters.segmenter"),
    "flags-and-io": ("flags/flag.py", "torch"),
    "rclpy": ("runtime/camera.py", "rclpy"),
    "cli": ("training/sources.py", "zmask_ros.cli.console"),
    "flags": ("flags/alarm.py", "zmask_ros.resources"),
    "segmenters": ("segmenters/network.py", "zmask_ros.flags"),
    "street": ("data/street/builder.py", "zmask_ros.defense"),
    "defense": ("defense/defense.py", "zmask_ros.training"),
    "inside-defense": ("defense/evidence/taps.py", "zmask_ros.defense.masking"),
    "runtime": ("runtime/drawing.py", "zmask_ros.data"),
    "attacks": ("attacks/eot.py", "zmask_ros.training"),
    "training": ("training/fusion.py", "zmask_ros.evaluation"),
    "training-street": ("training/sources.py", "zmask_ros.data.street"),
    "evaluation": ("evaluation/__init__.py", "zmask_ros.node.qos"),
    "node": ("node/worker.py", "zmask_ros.training"),
    "leaks": ("data/textures/__init__.py", "zmask_ros.data.textures.benign"),
}
"""For each contract: a file below zmask_ros/, and an import that it may not have."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with its contracts."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copy(CONFIGURATION, root)
    shutil.copytree(ROOT / "zmask_ros", root / "zmask_ros", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def test_every_contract_is_tried() -> None:
    contracts = tomllib.loads(CONFIGURATION.read_text())["tool"]["importlinter"]["contracts"]
    assert [contract["id"] for contract in contracts] == list(FORBIDDEN)


@pytest.mark.parametrize("contract", FORBIDDEN)
def test_a_forbidden_import_breaks_its_contract(checkout: Path, contract: str) -> None:
    name, imported = FORBIDDEN[contract]
    file = checkout / "zmask_ros" / name
    before = file.read_text()
    file.write_text(f"{before}\nimport {imported}\n")
    last_line = len(before.splitlines()) + 2
    try:
        result = subprocess.run(
            [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo", "--contract", contract],
            cwd=checkout,
            env={**os.environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
        )
    finally:
        file.write_text(before)
    assert result.returncode == 1, result.stderr
    circle = "No cycles are allowed in zmask_ros.segmenters."
    assert (circle if contract == "circles" else f"{imported} (l.{last_line})") in result.stdout

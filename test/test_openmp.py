"""Threads that wait for others sleep in every process of `zmask`, unless the user's environment says something else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.tiny_network import describe

PROGRAM = """
import os, sys
from zmask_ros.cli import main

sys.argv = ["zmask", "segmenters", sys.argv[1]]
main.main()
assert "torch" in sys.modules
print(os.environ["OMP_WAIT_POLICY"])
"""


@pytest.mark.parametrize(("given", "used"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_a_command_waits_without_spinning_unless_it_is_told_to(tmp_path: Path, given: str | None, used: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if given is not None:
        environment["OMP_WAIT_POLICY"] = given
    # OpenMP says what it has read when it is loaded.
    environment |= {"OMP_DISPLAY_ENV": "TRUE", "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(describe(tmp_path))],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=environment,
    )
    assert result.stdout.splitlines()[-1] == used
    assert f"OMP_WAIT_POLICY = '{used}'" in result.stderr

"""In every process of `zmask`, threads that wait soon sleep, and there are no more of them than granted cores."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.tiny_network import describe
from zmask_ros.openmp import granted_cores

PROGRAM = """
import os, sys
from zmask_ros.cli import main

sys.argv = ["zmask", "segmenters", sys.argv[1]]
main.main()
assert "torch" in sys.modules
print(os.environ["OMP_WAIT_POLICY"])
"""


@pytest.mark.parametrize(("given", "used", "spins"), [(None, "PASSIVE", "1000"), ("ACTIVE", "ACTIVE", "30000000000")])
def test_a_command_hardly_spins_unless_it_is_told_to(tmp_path: Path, given: str | None, used: str, spins: str) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    }
    if given is not None:
        environment["OMP_WAIT_POLICY"] = given
    # OpenMP says what it has read when it is loaded.
    environment |= {"OMP_DISPLAY_ENV": "VERBOSE", "PYTHONPATH": os.pathsep.join(sys.path)}
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
    assert f"GOMP_SPINCOUNT = '{spins}'" in result.stderr


@pytest.mark.parametrize(
    ("groups", "own", "granted"),
    [
        # Version 2: of a unit, of a container that sees its own group as the root, of the slice above, and none.
        ({"system.slice/a.service/cpu.max": "150000 100000"}, "0::/system.slice/a.service", 1.5),
        ({"cpu.max": "200000 100000"}, "0::/", 2.0),
        ({"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 0.5),
        ({"cpu.max": "max 100000"}, "0::/", math.inf),
        ({}, "0::/", math.inf),
        # A path outside of what the container sees.
        ({"cpu.max": "300000 100000"}, "0::/../../docker/1", 3.0),
        # Version 1, whose controllers share a folder, and where -1 is no limit.
        (
            {"cpu,cpuacct/d/cpu.cfs_quota_us": "400000", "cpu,cpuacct/d/cpu.cfs_period_us": "100000"},
            "12:memory:/d\n4:cpu,cpuacct:/d",
            4.0,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/", math.inf),
    ],
)
def test_the_limit_of_a_container_is_seen(tmp_path: Path, groups: dict[str, str], own: str, granted: float) -> None:
    for name, text in groups.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    (tmp_path / "own").write_text(f"{own}\n")
    assert granted_cores(tmp_path / "own", tmp_path / "groups") == granted
    assert granted_cores(tmp_path / "nothing", tmp_path / "groups") == math.inf

"""The memory of a process that is started: its own, and not what the one that starts it has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from zmask_ros.evaluation.performance.footprint import most_memory_mib

CODE = "from zmask_ros.evaluation.performance.footprint import most_memory_mib\nprint(most_memory_mib())"


def test_a_process_counts_its_own_memory_alone() -> None:
    held = torch.ones(64 << 20)
    assert most_memory_mib() > 256
    paths = "import sys\nsys.path[:] = " + repr([str(Path(path).resolve()) for path in sys.path]) + "\n"
    small = subprocess.run([sys.executable, "-c", paths + CODE], capture_output=True, text=True, check=True)
    assert 5 < float(small.stdout) < 128
    del held

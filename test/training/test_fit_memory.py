"""Fitting takes as much memory for ten thousand frames as for a hundred."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support import TESTS, tiny_network
from support.bag_makers import write_drive

pytestmark = pytest.mark.slow

PROGRAM = """
import resource, sys
from zmask_ros.cli.main import main

sys.argv = ["zmask", *sys.argv[1:]]
main()
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""
MOST_MORE_MIB = 40
"""What the frames that are held out, which the threshold needs, may take: a hundred frames do not fill their store."""


def peak_mib(folder: Path, frames: int) -> int:
    bag = write_drive(folder / f"{frames}.mcap", frames)
    output = folder / f"{frames}.zmask.safetensors"
    arguments = ["fit", str(bag), "--segmenter", str(folder / "tiny_0.yaml"), "-o", str(output)]
    command = [sys.executable, "-c", PROGRAM, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1800, cwd=TESTS)
    assert output.is_file()
    return int(result.stderr.rpartition("PEAK ")[2])


def test_memory_does_not_grow_with_the_drive(tmp_path: Path) -> None:
    tiny_network.describe(tmp_path)
    few, many = peak_mib(tmp_path, 100), peak_mib(tmp_path, 10_000)
    print(f"{few} MiB for 100 frames, {many} MiB for 10,000")
    assert many - few < MOST_MORE_MIB

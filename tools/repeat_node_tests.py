"""Run the node's tests over real DDS again and again; the table goes into docs/reliability.md.

    python tools/repeat_node_tests.py --runs 20

Stops with exit code 1 after the last run if a test failed in any of them.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click

from zmask_ros.io.markdown_tables import Marks

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "reliability.md"
MARKS = Marks("<!-- repeated -->", "<!-- end of repeated -->")
TESTS = "test/node"


@dataclass(frozen=True)
class Run:
    """One run of all tests: how many, which failed and why, how long it took, and how busy the machine was."""

    tests: int
    failed: dict[str, str]
    seconds: float
    load: float


def run_once() -> Run:
    """All tests that are not slow, in a process of their own."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-rfE", "-p", "no:cacheprovider", TESTS]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    counts = {what: int(number) for number, what in re.findall(r"(\d+) (passed|failed|errors?)\b", outcome.stdout)}
    failed = dict(re.findall(r"^(?:FAILED|ERROR) (\S+)(?: - (.*))?", outcome.stdout, re.MULTILINE))
    if not counts or (outcome.returncode and not failed):
        raise click.ClickException(f"The tests did not run: {outcome.stdout[-500:]}{outcome.stderr[-500:]}")
    return Run(sum(counts.values()), failed, time.monotonic() - began, os.getloadavg()[1])


def table(runs: list[Run]) -> str:
    """What the document says of them."""
    seconds = [run.seconds for run in runs]
    flakes = Counter(name for run in runs for name in run.failed)
    rows = {
        "runs in a row": f"{len(runs)}",
        "tests in each": f"{min(run.tests for run in runs)}",
        "runs in which a test failed": f"{sum(bool(run.failed) for run in runs)}",
        "tests that failed": ", ".join(f"`{name}` {count} times" for name, count in flakes.items()) or "none",
        "time of a run, median, longest": f"{statistics.median(seconds):.0f} s, {max(seconds):.0f} s (aim: 240 s)",
    }
    lines = ["| What | Figure |", "| --- | --- |", *(f"| {name} | {figure} |" for name, figure in rows.items())]
    loads = [run.load for run in runs]
    return "\n".join(["", *lines, "", f"On {os.cpu_count()} CPU cores, load {min(loads):.1f} to {max(loads):.1f}.", ""])


@click.command(help=__doc__)
@click.option("--runs", type=click.IntRange(min=1), default=20, show_default=True)
def main(runs: int) -> None:
    """Run all tests ``runs`` times, and write the table."""
    MARKS.check(DOCUMENT)
    done = []
    for number in range(1, runs + 1):
        done.append(run_once())
        # Written each time: a break leaves what is known.
        MARKS.write(DOCUMENT, table(done))
        failed = ", ".join(f"{name} ({why})" for name, why in done[-1].failed.items())
        click.echo(f"run {number} of {runs}: {done[-1].seconds:.0f} s, failed: {failed or 'none'}", err=True)
    sys.exit(any(run.failed for run in done))


if __name__ == "__main__":
    main()

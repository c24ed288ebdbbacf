"""Settings of OpenMP, whose threads torch computes with. Imports nothing of ours."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

WAIT_POLICY, THREADS, SPIN_COUNT = "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "GOMP_SPINCOUNT"
SHORT_SPIN = 1000
"""Times that a thread looks for work before it sleeps: some tens of microseconds, about what waking it takes."""
_OWN_GROUP, _ALL_GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def set_up_openmp(spin: bool = False) -> None:
    """Let threads that wait for others sleep, and have no more of them than cores, unless the environment says else.

    torch's threads wait for each other at the end of every operation, and while one waits for another that has no core
    it keeps a core busy itself: beside two busy processes on two cores a pass of the shipped network takes several
    times as long so. By itself torch sees which cores a process may use, and not for how much of their time: where a
    container's limit is lower, all of its threads are stopped as soon as they have used it up. OpenMP reads the
    environment once, when it is loaded with torch: call this before.

    Args:
        spin: whether they wait for `SHORT_SPIN` first. On a quiet machine a pass of small operations takes a quarter
            less time so, and beside busy processes a quarter more: for commands, and not for a vehicle's nodes.
    """
    if spin and WAIT_POLICY not in os.environ:
        os.environ.setdefault(SPIN_COUNT, str(SHORT_SPIN))
    os.environ.setdefault(WAIT_POLICY, "PASSIVE")
    granted, cores = granted_cores(), os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    if granted < cores:
        os.environ.setdefault(THREADS, str(math.ceil(granted)))


def granted_cores(own: Path = _OWN_GROUP, groups: Path = _ALL_GROUPS) -> float:
    """How many cores' time the control groups of this process allow, > 0; infinite without a limit, or where none are.

    Args:
        own: file that names the groups of the process.
        groups: where the groups are mounted.
    """
    return min(_limits(own, groups), default=math.inf)


def _limits(own: Path, groups: Path) -> Iterator[float]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has no controllers here. A container often sees its own group as the root.
        root = groups / controllers if controllers else groups
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root):
                yield from _limit(folder)


def _limit(group: Path) -> Iterator[float]:
    """The limit of one group, as what may be used of each period: of version 2 in one file, of version 1 in two."""
    try:
        allowed, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            allowed, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        except OSError:
            return
    if allowed.isdecimal() and period.isdecimal() and int(allowed) and int(period):
        yield int(allowed) / int(period)

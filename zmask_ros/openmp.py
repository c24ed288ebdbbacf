"""Settings of OpenMP, whose threads torch computes with. Imports nothing of ours."""

from __future__ import annotations

import os

WAIT_POLICY = "OMP_WAIT_POLICY"


def wait_without_spinning() -> None:
    """Let threads that wait for others sleep, unless the environment says something else.

    torch's threads wait for each other at the end of every operation, and while one waits for another that has no core
    it keeps a core busy itself: beside two busy processes on two cores a pass of the shipped network takes several
    times as long so. OpenMP reads the environment once, when it is loaded with torch: call this before.
    """
    os.environ.setdefault(WAIT_POLICY, "PASSIVE")

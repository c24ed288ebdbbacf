"""A process that a launch has started ends with it. Imports nothing of ours."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

LAUNCH_PID = "ZMASK_LAUNCH_PID"
"""Environment variable with the process number of the launch, which ends on SIGTERM, and on SIGKILL, without a word."""
_PR_SET_PDEATHSIG = 1


def environment() -> dict[str, str]:
    """What a launch gives to the processes that are to end with it."""
    return {LAUNCH_PID: str(os.getpid())}


def end_with_launch() -> None:
    """Have this process told to end, by SIGTERM, when the launch that started it has ended; on Linux."""
    pid = os.environ.get(LAUNCH_PID)
    if pid is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # It may have ended before that.
    if not Path(f"/proc/{pid}").exists():
        signal.raise_signal(signal.SIGTERM)

"""Flags read back from a recorded drive."""

from __future__ import annotations

from pathlib import Path

from zmask_ros.demo.recording import read_flags
from zmask_ros.flags.flag import FrameState


def test_flags_read_back_by_stamp(recorded: Path) -> None:
    flags = read_flags(recorded, "/camera/zmask/attack")
    states = [flag.state for _, flag in sorted(flags.items())]
    assert states[2:6] == [FrameState.ATTACK, FrameState.CLEAN, FrameState.UNKNOWN, FrameState.ATTACK]

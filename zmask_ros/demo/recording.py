"""What was recorded on the drive, found by the stamps of the camera's frames."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from zmask_ros.flags.flag import FrameState
from zmask_ros.io.bags.opening import open_bag
from zmask_ros.io.stamps import stamp_ns


@dataclass(frozen=True)
class RecordedFlag:
    """An AttackFlag: state, time from arrival to publication, and when the recorder had it."""

    state: FrameState
    latency_ms: float
    received_ns: int


def read_flags(bag: Path, topic: str) -> dict[int, RecordedFlag]:
    """The flags by the stamps (nanoseconds) of their frames.

    Raises:
        BagError: the bag cannot be read.
    """
    flags = {}
    with closing(open_bag(bag)) as opened:
        for recording in opened.recordings:
            for raw in recording.messages([topic]):
                flag = recording.types.deserialize(raw)
                recorded = RecordedFlag(FrameState(flag.state), flag.latency_ms, raw.received_ns)
                flags[stamp_ns(flag.header)] = recorded
    return flags

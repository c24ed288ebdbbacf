"""The stamps of ROS headers as one number."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

NANOSECONDS = 1_000_000_000
# A longer step is a jump of the clock, or a pause of the recorder, and no dropped frames.
_LONGEST_STEPS = 100


def stamp_ns(header: Any) -> int:
    """The stamp of a std_msgs/Header in nanoseconds, whichever library made the message."""
    return int(header.stamp.sec) * NANOSECONDS + int(header.stamp.nanosec)


def typical_step_ns(stamps_ns: Sequence[int]) -> int | None:
    """The usual time from one stamp to the next in nanoseconds; None if no stamp is later than the one before it."""
    steps = [step for step in _steps(stamps_ns) if step > 0]
    return statistics.median_low(steps) if steps else None


def duration_ns(stamps_ns: Sequence[int]) -> int:
    """How long a drive took, by the steps between its stamps, in nanoseconds.

    A step that is none of a drive counts as a usual one: a stamp that was not set, a jump of the clock, a loop.
    """
    usual = typical_step_ns(stamps_ns) or 0
    return sum(step if 0 <= step <= _LONGEST_STEPS * usual else usual for step in _steps(stamps_ns))


def _steps(stamps_ns: Sequence[int]) -> list[int]:
    return [after - before for before, after in pairwise(stamps_ns)]

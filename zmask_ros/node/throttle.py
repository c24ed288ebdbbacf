"""Lines of the log that come again and again."""

from __future__ import annotations

from typing import Any

from rclpy.clock import Clock, ClockType

_STEADY = Clock(clock_type=ClockType.STEADY_TIME)


def at_most_every(seconds: float) -> dict[str, Any]:
    """What a logger takes for one line in so many seconds, also after the computer's clock was set back.

    By itself it goes by that clock, and gives no line for as long as it was set back.
    """
    return {"throttle_duration_sec": seconds, "throttle_time_source_type": _STEADY}

"""Lines of the log that come again and again."""

from rclpy.clock import ClockType
from rclpy.logging import get_logger

from zmask_ros.node.throttle import at_most_every


def test_a_line_comes_once_in_a_while_by_a_clock_that_nobody_sets_back() -> None:
    often = at_most_every(3600.0)
    logger = get_logger("throttled")
    assert [logger.warning("again", **often) for _ in range(5)] == [True, False, False, False, False]
    assert often["throttle_time_source_type"].clock_type == ClockType.STEADY_TIME

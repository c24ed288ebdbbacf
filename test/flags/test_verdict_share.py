"""The share of the latest frames that got a verdict."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from zmask_ros.flags.verdict_share import VerdictShare


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.booleans())), st.floats(0.0, 10.0))
def test_it_is_that_of_the_frames_within_the_window(frames: list[tuple[float, bool]], after_s: float) -> None:
    now = 0.0
    share = VerdictShare(5.0, lambda: now)
    arrived: list[tuple[float, bool]] = []
    for wait_s, verdict in frames:
        now += wait_s
        share.add(verdict)
        arrived.append((now, verdict))
    now += after_s
    within = [verdict for at, verdict in arrived if at >= now - 5.0]
    if within:
        assert share.share == sum(within) / len(within)
    else:
        assert math.isnan(share.share)

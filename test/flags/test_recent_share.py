"""The share of the latest frames of which something is true."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from zmask_ros.flags.recent_share import RecentShare


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.booleans())), st.floats(0.0, 10.0))
def test_it_is_that_of_the_frames_within_the_window(frames: list[tuple[float, bool]], after_s: float) -> None:
    now = 0.0
    share = RecentShare(5.0, lambda: now)
    arrived: list[tuple[float, bool]] = []
    for wait_s, answer in frames:
        now += wait_s
        share.add(answer)
        arrived.append((now, answer))
    now += after_s
    within = [answer for at, answer in arrived if at >= now - 5.0]
    assert share.frames == len(within)
    if within:
        assert share.share == sum(within) / len(within)
    else:
        assert math.isnan(share.share)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmask_ros.io.stamps import NANOSECONDS, duration_ns, typical_step_ns

T0 = 1_700_000_000


@pytest.mark.parametrize(
    ("seconds", "length"),
    [
        ([], 0),
        ([T0], 0),
        ([T0, T0 + 1, T0 + 2, T0 + 3], 3),
        ([T0, T0 + 1, 0, T0 + 3], 3),
        ([0, T0 + 1, T0 + 2, T0 + 3], 3),
        ([T0, T0 + 1, T0 + 2, T0, T0 + 1, T0 + 2], 5),
        ([T0, T0 + 1, T0 + 21, T0 + 22], 22),
        ([100, 101, 102, T0, T0 + 1], 4),
        ([0, 0, 0], 0),
    ],
)
def test_a_drive_is_as_long_as_its_steps(seconds: list[int], length: int) -> None:
    assert duration_ns([second * NANOSECONDS for second in seconds]) == length * NANOSECONDS


@given(st.lists(st.integers(1, 99), min_size=1), st.integers(0, 10**18))
def test_steps_of_a_drive_add_up(steps: list[int], first: int) -> None:
    stamps = [first + sum(steps[:index]) for index in range(len(steps) + 1)]
    assert duration_ns(stamps) == stamps[-1] - stamps[0]
    assert typical_step_ns(stamps) in steps

"""Whether more is masked as a precaution than a profile was set for."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from zmask_ros.flags.precaution import excess_advice


@given(st.integers(0, 400), st.integers(1, 400), st.floats(0.001, 0.5))
@example(63, 97, 0.05)
@example(1, 60, 0.001)
@example(5, 60, 0.001)
def test_it_is_said_where_the_share_is_large_and_more_than_four_times_that_of_the_profile(
    masked: int, clean: int, rate: float
) -> None:
    share = min(masked, clean) / clean
    assert bool(excess_advice(share, clean, rate)) == (clean >= 50 and share > max(4 * rate, 0.04))


def test_it_says_both_shares_and_what_to_do() -> None:
    said = excess_advice(63 / 97, 97, 0.05)
    assert said.startswith("65% of 97 clean frames were masked as a precaution, and the profile is set for 5%: ")
    assert "fit drives that show it" in said


def test_nothing_is_expected_of_a_threshold_that_was_set_for_no_share() -> None:
    assert excess_advice(1.0, 1000, None) == ""


def test_nothing_is_said_before_there_were_clean_frames() -> None:
    assert excess_advice(float("nan"), 0, 0.05) == ""

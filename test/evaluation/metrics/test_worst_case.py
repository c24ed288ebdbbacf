"""Several attacks at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmask_ros.evaluation.metrics.records import Record, RecordSet
from zmask_ros.evaluation.metrics.worst_case import frontier, worst_case


def records(right: list[int], flagged: list[bool], names: str = "abc") -> RecordSet:
    """Frames of one class and 10 pixels each, so many of them right; what is flagged is masked, and so is "b"."""
    return RecordSet(
        [
            Record(name, "drive", 0.0, flag, flag or name == "b", (good, 10 - good), None, None, 0.0)
            for name, good, flag in zip(names, right, flagged, strict=True)
        ],
        1,
    )


def test_each_frame_meets_its_worst_attack_and_counts_as_found_only_if_all_are() -> None:
    clean = records([9, 9, 8], [False] * 3)
    weak, strong = records([8, 3, 8], [True, True, False]), records([2, 7, 7], [True, False, False])
    worst = worst_case([weak, strong], [clean, clean])
    assert worst.frames == 3
    assert worst.damage == pytest.approx((26 - (2 + 3 + 7)) / 30)
    assert (worst.flagged, worst.masked) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_what_is_lost_counts_and_not_what_is_wrong_anyway() -> None:
    # Under the second attack fewer pixels are right, but there they are wrong without it as well.
    worst = worst_case(
        [records([6], [False], "a"), records([5], [False], "a")],
        [records([9], [False], "a"), records([5], [False], "a")],
    )
    assert worst.damage == pytest.approx(0.3)


def test_attacks_on_other_frames_are_refused() -> None:
    one, other = records([9], [False], "a"), records([9], [False], "b")
    with pytest.raises(ValueError, match="same frames"):
        worst_case([one, other], [one, one])
    with pytest.raises(ValueError, match="at least one"):
        worst_case([], [])


attacks = st.lists(st.tuples(st.integers(0, 10), st.integers(-10, 10)), min_size=1, max_size=30)


@given(attacks)
def test_the_frontier_is_the_most_damage_for_so_many_alarms(found: list[tuple[int, int]]) -> None:
    shares, damages = frontier([flagged / 10 for flagged, _ in found], [damage for _, damage in found])
    assert (np.diff(shares) > 0).all() and (np.diff(damages) > 0).all()
    for flagged, _ in found:
        most = max(damage for other, damage in found if other <= flagged)
        assert damages[shares <= flagged / 10][-1] == most

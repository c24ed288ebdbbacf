"""Confidence intervals against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from zmask_ros.evaluation.metrics.intervals import bootstrap, share_interval


def test_bootstrap_covers_the_mean_and_repeats() -> None:
    values = np.random.default_rng(1).normal(5, 2, 200)

    def mean(chosen: np.ndarray) -> float:
        return float(values[chosen].mean())

    interval = bootstrap(mean, range(200), seed=3)
    assert interval.value == pytest.approx(values.mean())
    expected = 1.96 * values.std() / math.sqrt(200)
    assert interval.high - interval.low == pytest.approx(2 * expected, rel=0.2)
    assert interval == bootstrap(mean, range(200), seed=3)
    assert interval != bootstrap(mean, range(200), seed=4)


def test_bootstrap_by_drive_is_wider_where_drives_differ() -> None:
    drives = np.repeat(np.arange(6), 30)
    values = drives + np.random.default_rng(0).normal(0, 0.1, len(drives))

    def mean(chosen: np.ndarray) -> float:
        return float(values[chosen].mean())

    by_frame, by_drive = bootstrap(mean, range(len(drives))), bootstrap(mean, drives.tolist())
    assert by_drive.high - by_drive.low > 2 * (by_frame.high - by_frame.low)
    only_drive = bootstrap(mean, ["one"] * len(drives))
    assert only_drive.low == only_drive.value == only_drive.high
    with pytest.raises(ValueError, match="frames"):
        bootstrap(mean, [])


def test_undefined_draws_are_left_out() -> None:
    values = np.array([math.nan, 1.0, 1.0])
    interval = bootstrap(lambda chosen: float(np.nanmean(values[chosen])) if (chosen > 0).any() else math.nan, range(3))
    assert (interval.low, interval.high) == (1, 1)
    assert math.isnan(bootstrap(lambda _: math.nan, range(3)).low)


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (1, 10), (3, 50), (7, 7), (0, 1), (400, 1000)])
def test_the_interval_of_a_share_leaves_half_of_the_doubt_on_each_side(hits: int, count: int) -> None:
    interval = share_interval(hits, count)

    def at_most(most: int, p: float) -> float:
        return sum(math.comb(count, i) * p**i * (1 - p) ** (count - i) for i in range(most + 1))

    assert interval.low <= interval.value == hits / count <= interval.high
    assert (interval.low == 0) if hits == 0 else 1 - at_most(hits - 1, interval.low) == pytest.approx(0.025, abs=1e-9)
    assert (interval.high == 1) if hits == count else at_most(hits, interval.high) == pytest.approx(0.025, abs=1e-9)


def test_no_frames_have_no_share() -> None:
    assert math.isnan(share_interval(0, 0).value)

"""Scores, intervals and masks against scikit-learn, and against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, jaccard_score, roc_auc_score, roc_curve

from zmask_ros.evaluation import Confusion, bootstrap, false_alarms_an_hour, mask_iou, rate_interval, recovery, roc

# Few distinct values, so that there are ties within and between the two kinds.
scores = st.lists(st.integers(0, 12).map(lambda value: value / 4), min_size=1, max_size=40)


@settings(max_examples=80, deadline=None)
@given(scores, scores)
def test_roc_equals_that_of_scikit_learn(clean: list[float], attacked: list[float]) -> None:
    ours = roc(np.array(clean), np.array(attacked))
    truth, all_scores = [0] * len(clean) + [1] * len(attacked), clean + attacked
    theirs = roc_curve(truth, all_scores, drop_intermediate=False)
    for mine, other in zip((ours.false_positive_rate, ours.true_positive_rate, ours.thresholds), theirs, strict=True):
        np.testing.assert_allclose(mine, other)
    assert ours.area == pytest.approx(roc_auc_score(truth, all_scores), abs=1e-12)


def test_roc_by_hand() -> None:
    curve = roc(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.5, 5.0, 0.5, 6.0]))
    assert curve.area == pytest.approx((3 + 4 + 0 + 4) / 16)
    assert curve.true_positive_rate_at(0.0) == 0.5
    assert curve.true_positive_rate_at(0.2) == 0.5
    assert curve.true_positive_rate_at(0.25) == 0.75
    assert curve.true_positive_rate_at(1.0) == 1.0
    with pytest.raises(ValueError, match="attacked"):
        roc(np.array([1.0]), np.array([]))
    with pytest.raises(ValueError, match="finite"):
        roc(np.array([1.0]), np.array([math.nan]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_segmentation_metrics_equal_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 4, (2, 9, 11)).astype(np.uint8)
    confusion = Confusion(4)
    confusion.add(predicted, truth)
    labels = np.unique(truth)
    np.testing.assert_array_equal(
        confusion.counts[:, :4], confusion_matrix(truth.ravel(), predicted.ravel(), labels=range(4))
    )
    iou = jaccard_score(truth.ravel(), predicted.ravel(), labels=labels, average=None)
    np.testing.assert_allclose(confusion.iou()[labels], iou)
    assert confusion.miou() == pytest.approx(iou.mean())
    first, second = predicted > 1, truth > 1
    assert mask_iou(first, second) == pytest.approx(jaccard_score(second.ravel(), first.ravel()))


def test_recovery_and_false_alarms_by_hand() -> None:
    assert recovery(defended=0.55, attacked=0.4, oracle=0.6) == pytest.approx(0.75)
    assert recovery(defended=0.3, attacked=0.4, oracle=0.6) == pytest.approx(-0.5)
    assert math.isnan(recovery(defended=0.6, attacked=0.6, oracle=0.6))
    assert false_alarms_an_hour(0.001, 15) == pytest.approx(54)


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


def test_rate_interval_by_hand() -> None:
    nothing = rate_interval(0, 100)
    assert nothing.low == 0 and nothing.high == pytest.approx(0.0370, abs=1e-4)
    assert rate_interval(100, 100).high == 1
    half = rate_interval(5, 10)
    assert (half.low, half.high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert math.isnan(rate_interval(0, 0).value)

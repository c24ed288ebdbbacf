"""ROC curves against slow counts and values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zmask_ros.evaluation.metrics.detection import roc

# Few distinct values, so that there are ties within and between the two kinds.
scores = st.lists(st.integers(0, 12).map(lambda value: value / 4), min_size=1, max_size=40)


@settings(max_examples=80, deadline=None)
@given(scores, scores)
def test_roc_has_a_point_for_each_score_and_counts_ties_half(clean: list[float], attacked: list[float]) -> None:
    curve = roc(np.array(clean), np.array(attacked))
    levels = sorted({*clean, *attacked}, reverse=True)
    for rates, own in ((curve.false_positive_rate, clean), (curve.true_positive_rate, attacked)):
        np.testing.assert_allclose(rates[1:], [np.mean(np.array(own) >= level) for level in levels])
    pairs = [1.0 if a > c else 0.5 if a == c else 0.0 for a in attacked for c in clean]
    assert curve.area == pytest.approx(np.mean(pairs), abs=1e-12)


def test_roc_by_hand() -> None:
    curve = roc(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.5, 5.0, 0.5, 6.0]))
    assert curve.area == pytest.approx((3 + 4 + 0 + 4) / 16)
    assert curve.true_positive_rate_at(0.0) == 0.5
    assert curve.true_positive_rate_at(0.2) == 0.5
    assert curve.true_positive_rate_at(0.25) == 0.75
    assert curve.true_positive_rate_at(1.0) == 1.0
    with pytest.raises(ValueError, match="attacked"):
        roc(np.array([1.0]), np.array([]))
    with pytest.raises(ValueError, match="NaN"):
        roc(np.array([1.0]), np.array([math.nan]))

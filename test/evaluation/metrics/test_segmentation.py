"""Metrics against values worked out by hand, a slow count, and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, jaccard_score

from zmask_ros.evaluation.metrics.segmentation import Confusion, detection_rates
from zmask_ros.runtime.patch_truth import mask_iou

TRUTH = np.array([[0, 0, 0, 1], [1, 1, 2, 255]], np.uint8)
PREDICTED = np.array([[0, 0, 1, 1], [1, 2, 2, 0]], np.uint8)


def test_confusion_by_hand() -> None:
    confusion = Confusion(4)
    confusion.add(PREDICTED, TRUTH)
    expected = np.zeros((4, 5), int)
    expected[0, 0], expected[0, 1] = 2, 1
    expected[1, 1], expected[1, 2] = 2, 1
    expected[2, 2] = 1
    np.testing.assert_array_equal(confusion.counts, expected)
    np.testing.assert_allclose(confusion.iou(), [2 / 3, 2 / 4, 1 / 2, math.nan])
    assert confusion.miou() == pytest.approx((2 / 3 + 1 / 2 + 1 / 2) / 3)
    assert confusion.pixel_accuracy() == pytest.approx(5 / 7)
    assert confusion.total == 7


def test_only_chosen_pixels_count() -> None:
    confusion = Confusion(4)
    confusion.add(PREDICTED, TRUTH, np.array([[1, 1, 0, 1], [1, 0, 1, 1]], bool))
    assert confusion.pixel_accuracy() == 1
    assert confusion.miou() == 1
    assert confusion.total == 5


def test_a_class_that_is_only_predicted_costs_the_others_but_is_no_class_of_the_truth() -> None:
    confusion = Confusion(3)
    confusion.add(np.array([[0, 2]]), np.array([[0, 0]]))
    np.testing.assert_allclose(confusion.iou(), [0.5, math.nan, math.nan])
    assert confusion.miou() == 0.5


def test_predictions_that_are_no_class_are_wrong() -> None:
    confusion = Confusion(2)
    confusion.add(np.array([[0, 255]]), np.array([[0, 1]]))
    np.testing.assert_allclose(confusion.iou(), [1, 0])
    assert confusion.pixel_accuracy() == 0.5


def test_nothing_counted_is_not_a_number() -> None:
    confusion = Confusion(2)
    confusion.add(np.array([[0]]), np.array([[255]]))
    assert math.isnan(confusion.miou())
    assert math.isnan(confusion.pixel_accuracy())


def test_label_maps_that_do_not_fit_are_refused() -> None:
    confusion = Confusion(2)
    with pytest.raises(ValueError, match="shapes"):
        confusion.add(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="shapes"):
        confusion.add(np.zeros((2, 2), int), np.zeros((2, 2), int), np.zeros((1, 2), bool))
    with pytest.raises(ValueError, match="true label 2"):
        confusion.add(np.zeros((1, 1), int), np.full((1, 1), 2))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_confusion_equals_a_slow_count_in_one_and_in_two_steps(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.choice([*range(classes), 255], (7, 5)).astype(np.uint8)
    predicted = rng.integers(0, classes + 1, (7, 5)).astype(np.uint8)
    where = rng.random((7, 5)) < 0.7
    slow = np.zeros((classes, classes + 1), int)
    for y, x in np.ndindex(7, 5):
        if where[y, x] and truth[y, x] != 255:
            slow[truth[y, x], predicted[y, x]] += 1
    whole, twice = Confusion(classes), Confusion(classes)
    whole.add(predicted, truth, where)
    for part in (np.s_[:3], np.s_[3:]):
        twice.add(predicted[part], truth[part], where[part])
    np.testing.assert_array_equal(whole.counts, slow)
    np.testing.assert_array_equal(twice.counts, slow)
    assert Confusion(classes, slow).pixel_accuracy() == pytest.approx(whole.pixel_accuracy(), nan_ok=True)


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


def test_mask_iou_by_hand() -> None:
    one, two = np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool)
    assert mask_iou(one, two) == 1
    one[:2, :2] = 255
    assert mask_iou(one, two) == 0
    two[1:3, :2] = True
    assert mask_iou(one, two) == pytest.approx(2 / 6)
    assert mask_iou(one, one > 0) == 1
    with pytest.raises(ValueError, match="shapes"):
        mask_iou(one, two[1:])


def test_detection_rates_by_hand() -> None:
    attacked = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0], bool)
    flagged = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0], bool)
    assert detection_rates(flagged, attacked) == (0.75, 0.2)
    without_the_missed = np.array([1, 1, 1, 0, 1, 1, 1, 1, 1], bool)
    assert detection_rates(flagged, attacked, without_the_missed) == (1, 0.2)
    assert math.isnan(detection_rates(flagged[4:], attacked[4:])[0])
    assert math.isnan(detection_rates(flagged[:4], attacked[:4])[1])
    with pytest.raises(ValueError, match="compared"):
        detection_rates(flagged, attacked[1:])

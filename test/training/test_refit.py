"""A profile that is brought to another camera: what was learned is kept, what is clean is measured anew."""

import numpy as np
import pytest
import torch

from support import tiny_network
from support.screened import screened_profile
from zmask_ros.defense import Defense, StreamingDefense
from zmask_ros.training.adversarial import with_untrained_head
from zmask_ros.training.bag_fit import refit
from zmask_ros.training.sources import CleanFrame


def _darker(index):
    return (tiny_network.clean_image(index) * 0.6).astype(np.uint8)


def _drive(make, count=40):
    return [CleanFrame("other", "/image_raw", index, make(index)) for index in range(count)]


@pytest.fixture(scope="module")
def learned(segmenter, fitted):
    frames = [tiny_network.clean_image(index) for index in range(24)]
    return with_untrained_head(segmenter, screened_profile(segmenter, fitted), ("0", "2"), frames)


def test_the_head_is_kept_and_the_statistics_are_those_of_the_new_footage(segmenter, learned):
    other = refit(segmenter, learned, _drive(_darker), 40, 0.01)
    assert other.detector.head.digest == learned.detector.head.digest
    assert other.detector.growth == learned.detector.growth
    again = refit(segmenter, other, _drive(_darker), 40, 0.01)
    for key, statistics in other.detector.statistics.items():
        # Half-way to the new footage, and half of the rest of the way.
        one, two, three = (p.detector.statistics[key].mean for p in (learned, other, again))
        assert not torch.equal(statistics.mean, one)
        torch.testing.assert_close(three - two, (two - one) / 2)
    assert sum(note.startswith("Fitted anew") for note in again.notes) == 1
    Defense(segmenter, other)


def test_the_threshold_holds_on_the_new_footage(segmenter, learned):
    other = refit(segmenter, learned, _drive(_darker, 150), 150, 0.01)
    defense = Defense(segmenter, other)
    scores = [float(defense.analyze(segmenter.prepare(_darker(index)))[1].score) for index in range(200, 240)]
    assert sum(score > other.detector.threshold.value for score in scores) <= 1


def test_a_screen_and_a_precaution_come_along(segmenter, fitted):
    profile = screened_profile(segmenter, fitted)
    other = refit(segmenter, profile, _drive(_darker), 40, 0.01)
    assert other.screen.head.digest == profile.screen.head.digest
    assert other.screen.threshold.value != profile.screen.threshold.value
    assert StreamingDefense(Defense(segmenter, other)).cascade.screening is not None
    assert (other.detector.precaution is None) == (profile.detector.precaution is None)

"""Simulated streets as benign pictures."""

import numpy as np

from zmask_ros.training.simulated_streets import PICTURES_A_STREET, street_pictures


def test_they_are_of_the_size_and_number_that_are_asked_for_and_always_the_same():
    first, again = street_pictures((48, 64), 5), street_pictures((48, 64), 2)
    assert [own.shape for own in first] == [(48, 64, 3)] * 5 and first[0].dtype == np.uint8
    assert all(np.array_equal(a, b) for a, b in zip(again, first[:2], strict=True))
    assert not any(np.array_equal(first[0], other) for other in first[1:])
    assert len(first) > 2 * PICTURES_A_STREET and street_pictures((48, 64), 0) == ()

"""Benign pictures."""

import numpy as np

from support import tiny_network
from zmask_ros.data.textures.benign import KINDS, benign_pictures


def test_benign_pictures_are_of_every_kind_and_follow_from_the_seed():
    images = [tiny_network.clean_image(index) for index in range(3)]
    first, again, other = (benign_pictures(2 * len(KINDS), (24, 40), images, seed) for seed in (1, 1, 2))
    assert all(picture.shape == (24, 40, 3) and picture.dtype == np.uint8 for picture in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first[: len(KINDS)], first[len(KINDS) :], strict=True))

"""Benign-hard sets: the same from the same seed, and nothing changed that must not change."""

from __future__ import annotations

import numpy as np
import pytest

from support.tiny_network import clean_image
from zmask_ros.evaluation.protocol.benign_sets import BOARDS, CHANGES, FROZEN, HARD_SETS, hard_frame

IMAGES = [clean_image(index, 90, 120) for index in range(3)]
OTHERS = [np.full((90, 120, 3), 7, np.uint8)]


def test_all_that_was_asked_for_is_there() -> None:
    wanted = {
        "night",
        "rain",
        "glare",
        "blur",
        "heavy JPEG",
        "checkerboard",
        "poster",
        "foliage",
        "random patch",
        "natural patch",
        "frozen camera",
        "black camera",
    }
    assert set(HARD_SETS) == wanted


@pytest.mark.parametrize("name", HARD_SETS)
def test_frames_follow_from_the_seed(name: str) -> None:
    image, board = hard_frame(name, IMAGES, 1, 5, OTHERS)
    again, _ = hard_frame(name, IMAGES, 1, 5, OTHERS)
    assert image.dtype == np.uint8 and image.shape == (90, 120, 3) and board.shape == (90, 120)
    np.testing.assert_array_equal(image, again)
    if name not in (FROZEN, "heavy JPEG"):
        assert not np.array_equal(image, hard_frame(name, IMAGES, 1, 6, OTHERS)[0])
        assert not np.array_equal(image, IMAGES[1])
    assert board.any() == (name in BOARDS)
    np.testing.assert_array_equal(IMAGES[1], clean_image(1, 90, 120))


@pytest.mark.parametrize("name", BOARDS)
def test_boards_hide_only_what_they_say(name: str) -> None:
    for index in range(3):
        image, board = hard_frame(name, IMAGES, index, 0, OTHERS)
        np.testing.assert_array_equal(image[~board], IMAGES[index][~board])
        assert 0.25**2 * 0.7 < board.mean() < 0.45**2


def roughness(image: np.ndarray) -> float:
    return float(np.abs(np.diff(image.astype(int), axis=1)).mean())


def test_what_the_sets_show() -> None:
    means = {name: hard_frame(name, IMAGES, 1, 0, OTHERS)[0].mean() for name in CHANGES}
    assert means["black camera"] < 3
    assert means["night"] < 0.6 * IMAGES[1].mean() < 1.2 * IMAGES[1].mean() < means["glare"] * 1.2
    blurred = hard_frame("blur", IMAGES, 1, 0, OTHERS)[0]
    assert roughness(blurred) < 0.7 * roughness(IMAGES[1])
    for index in range(3):
        np.testing.assert_array_equal(hard_frame(FROZEN, IMAGES, index, 0, OTHERS)[0], IMAGES[0])
    natural, board = hard_frame("natural patch", IMAGES, 0, 0, OTHERS)
    assert (natural[board] == 7).all()
    checks, board = hard_frame("checkerboard", IMAGES, 0, 0, OTHERS)
    assert set(np.unique(checks[board])) == {0, 255}

"""A patch on a panel that a recorded drive passes or follows."""

from __future__ import annotations

import numpy as np
import pytest

from zmask_ros.attacks.panels import CARRIERS, default_camera, patched_image
from zmask_ros.attacks.projection import PinholeCamera

GRAY = np.full((120, 160, 3), 128, np.uint8)
PICTURE = np.zeros((20, 40, 3), np.uint8)
CAMERA = default_camera((120, 160))


def seen(carrier: str, seconds: float, camera: PinholeCamera = CAMERA, image: np.ndarray = GRAY):
    return patched_image(image, PICTURE, camera, CARRIERS[carrier], seconds)


def center(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return rows.mean(), columns.mean()


def test_a_billboard_grows_and_leaves_to_the_right_and_comes_again() -> None:
    masks = [seen("billboard", seconds)[1] for seconds in (0.0, 2.0, 4.0)]
    shares, columns = [mask.mean() for mask in masks], [center(mask)[1] for mask in masks]
    assert shares[0] > 0 and shares == sorted(shares) and shares[2] > 8 * shares[0]
    assert columns == sorted(columns) and columns[0] > 80
    assert not seen("billboard", 5.5)[1].any()
    assert np.array_equal(seen("billboard", 7.0)[1], masks[0])


def test_a_truck_stays_ahead_and_is_away_for_a_while() -> None:
    rows, columns = center(seen("truck", 8.0)[1])
    assert (rows, columns) == pytest.approx((59.5, 79.5), abs=1.0)
    image, mask = seen("truck", 1.0)
    assert not mask.any() and np.array_equal(image, GRAY)


def test_only_where_the_patch_is_seen_the_image_is_another() -> None:
    image, mask = seen("truck", 8.0)
    changed = (image != GRAY).any(-1)
    assert changed[mask].all() and (changed & ~mask).sum() < 0.1 * mask.sum()
    # A picture twice as wide as high, on a panel of its shape.
    rows, columns = (np.ptp(places) + 1 for places in np.nonzero(mask))
    assert columns == pytest.approx(2 * rows, abs=2)
    assert np.array_equal(seen("truck", 8.0)[0], image)


def test_what_a_shape_leaves_open_shows_the_image() -> None:
    shape = np.zeros((20, 40, 1), np.uint8)
    shape[:, :20] = 255
    whole = seen("truck", 8.0)[1]
    _, half = patched_image(GRAY, np.concatenate([PICTURE, shape], -1), CAMERA, CARRIERS["truck"], 8.0)
    assert half.sum() == pytest.approx(whole.sum() / 2, rel=0.1) and not (half & ~whole).any()


def test_it_is_seen_through_the_cameras_own_lens_at_any_size() -> None:
    twice = PinholeCamera((240, 320), (320.0, 320.0), (160.0, 120.0))
    assert np.array_equal(seen("truck", 8.0, twice)[1], seen("truck", 8.0)[1])
    long_focus = PinholeCamera((120, 160), (320.0, 320.0), (80.0, 60.0))
    assert seen("truck", 8.0, long_focus)[1].sum() == pytest.approx(4 * seen("truck", 8.0)[1].sum(), rel=0.1)

"""Labels at another size: the nearest pixel's, by its center."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmask_ros.io.images.nearest import resize_nearest

LENGTHS = st.integers(1, 90)


def nearest_center(length: int, wanted: int) -> np.ndarray:
    """For each of ``wanted`` pixels the one of ``length`` whose center is nearest; of two the later one."""
    # In units of 1 / (2 length wanted) of the side all centers are whole numbers.
    distances = np.abs((2 * np.arange(length) + 1) * wanted - (2 * np.arange(wanted)[:, None] + 1) * length)
    return length - 1 - distances[:, ::-1].argmin(1)


@given(LENGTHS, LENGTHS, LENGTHS, LENGTHS, st.sampled_from([np.uint8, np.float32, bool]))
def test_each_pixel_is_the_one_whose_center_is_nearest(
    height: int, width: int, rows: int, columns: int, kind: type
) -> None:
    plane = np.random.default_rng(height * width).integers(0, 255, (height, width)).astype(kind)
    resized = resize_nearest(plane, (rows, columns))
    assert resized.dtype == plane.dtype
    expected = plane[np.ix_(nearest_center(height, rows), nearest_center(width, columns))]
    np.testing.assert_array_equal(resized, expected)


@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (1080, 1920), (375, 1242), (1216, 1936), (180, 240)])
def test_sizes_of_cameras(size: tuple[int, int]) -> None:
    plane = np.arange(360 * 480).reshape(360, 480)
    expected = plane[np.ix_(nearest_center(360, size[0]), nearest_center(480, size[1]))]
    np.testing.assert_array_equal(resize_nearest(plane, size), expected)


@given(LENGTHS, LENGTHS, st.integers(1, 6))
def test_a_plane_that_is_enlarged_comes_back_whole(height: int, width: int, factor: int) -> None:
    plane = np.random.default_rng(factor).integers(0, 255, (height, width))
    larger = resize_nearest(plane, (factor * height, factor * width))
    np.testing.assert_array_equal(larger, np.kron(plane, np.ones((factor, factor), int)))
    np.testing.assert_array_equal(resize_nearest(larger, (height, width)), plane)

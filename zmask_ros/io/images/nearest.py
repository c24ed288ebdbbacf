"""Labels and masks at another size: each pixel takes the value of the nearest one."""

from __future__ import annotations

import numpy as np


def resize_nearest(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A plane [h, w] of any type at another height and width: each pixel's is the value nearest to its center.

    Of two that are equally near the one further to the right, or further down, counts. OpenCV's `INTER_NEAREST` takes
    the value at the corner of a pixel, half a pixel off, and `INTER_NEAREST_EXACT` rounds otherwise at most sizes.

    Args:
        plane: [h, w].
        size: height and width, in pixels.

    Returns:
        [H, W]; ``plane`` itself where it has that size already.
    """
    if plane.shape == size:
        return plane
    rows, columns = (_nearest(length, wanted) for length, wanted in zip(plane.shape, size, strict=True))
    # Rows are copied as they are, columns value by value: these are taken while there are few rows.
    if len(rows) < len(plane):
        return plane.take(rows, 0).take(columns, 1)
    return plane.take(columns, 1).take(rows, 0)


def _nearest(length: int, wanted: int) -> np.ndarray:
    """The places among ``length`` that are nearest to the centers of ``wanted``, int64 [wanted]."""
    return (2 * np.arange(wanted) + 1) * length // (2 * wanted)

"""Pictures of many streets, of which a defense learns what is harmless."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import numpy as np

from zmask_ros.data.street.drive import CARRIERS, StreetDrive

PICTURE_SEEDS = range(40_000, 41_000)
"""Of their streets: what has learned from these is not to be tested on them."""
PICTURES_A_STREET, STREET_S = 2, 20.0


def street_pictures(size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Two pictures of each of `PICTURE_SEEDS`; two of three streets have billboards or a truck with advertisements.

    Args:
        size: height and width, px.

    Yields:
        uint8 [h, w, 3], RGB.
    """
    height, width = size
    for seed, carrier in zip(PICTURE_SEEDS, cycle(CARRIERS)):
        for frame in StreetDrive(seed, STREET_S, PICTURES_A_STREET / STREET_S, width, height, carrier):
            yield frame.image

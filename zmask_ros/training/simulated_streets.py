"""Simulated streets as benign pictures: roads, weather and advertisements that a user's drives do not show.

A head takes for a patch what its drives do not show. Streets of another world look like none of them, and the network
was hardly ever trained on them: they move what it shows a head as the next place or the next camera does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from zmask_ros.data.street import StreetDrive
from zmask_ros.progress import Progress, silent

FIRST_STREET = 4000
"""Seed of the first street; they count up from here."""
PICTURES_A_STREET, STREET_S = 2, 20.0
CARRIERS = None, "billboard", "truck"
SECONDS_A_PICTURE = 0.6
"""That it takes to draw one, about, whatever its size."""


def street_pictures(size: tuple[int, int], count: int, progress: Progress = silent) -> tuple[np.ndarray, ...]:
    """``count`` pictures, uint8 [h, w, 3] RGB, two of each street; every other street has billboards or a truck ahead.

    Args:
        size: height and width, px.
        count: how many.
        progress: shows how far it is.
    """
    pictures = []
    with progress("Drawing streets", "pictures", count) as advance:
        for picture in itertools.islice(_pictures(size), count):
            pictures.append(picture)
            advance()
    return tuple(pictures)


def _pictures(size: tuple[int, int]) -> Iterator[np.ndarray]:
    height, width = size
    for seed, carrier in zip(itertools.count(FIRST_STREET), itertools.cycle(CARRIERS)):
        for frame in StreetDrive(seed, STREET_S, PICTURES_A_STREET / STREET_S, width, height, carrier):
            yield frame.image

"""What is timed: the tiny network with its defense."""

from __future__ import annotations

import pytest

from zmask_ros.defense import Defense, Profile
from zmask_ros.segmenters import Segmenter


@pytest.fixture(scope="module")
def defended(segmenter: Segmenter, fitted: Profile) -> tuple[Segmenter, Defense]:
    return segmenter, Defense(segmenter, fitted)

"""What the tests of attacks share: a network that a patch can spoil in a few steps, and frames for it."""

from __future__ import annotations

import pytest

from support import neighbourly
from zmask_ros.segmenters import Segmenter


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    """The network that looks at wide neighbourhoods."""
    return neighbourly.segmenter()


@pytest.fixture(scope="module")
def frames() -> list[neighbourly.Frame]:
    """Four equal frames with labels."""
    return neighbourly.frames()

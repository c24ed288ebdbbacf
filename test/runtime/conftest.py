"""What the tests of a replay share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import tiny_network
from support.screened import screened_profile
from zmask_ros.defense import save_profile

if TYPE_CHECKING:
    from zmask_ros.defense import Profile
    from zmask_ros.segmenters import Segmenter


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, segmenter: Segmenter, fitted: Profile) -> tuple[Path, Path]:
    """The description of the tiny network, and a profile for it with a screening."""
    folder = tmp_path_factory.mktemp("screened")
    profile = folder / "screened.zmask.safetensors"
    save_profile(screened_profile(segmenter, fitted), profile)
    return tiny_network.describe(folder), profile

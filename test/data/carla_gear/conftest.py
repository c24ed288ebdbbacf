"""A set in CARLA-GeAR's layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.gear_set import write_set


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_set(tmp_path)

"""A recorded drive, and what is measured on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.recorded_drive import PICTURE, SMALL, TruthfulCamera, record_small_drive
from zmask_ros.demo.measure import Measurement, measure


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bag of `record_small_drive`."""
    path = tmp_path_factory.mktemp("demo") / "drive"
    record_small_drive(path)
    return path


@pytest.fixture(scope="session")
def found(recorded: Path) -> Measurement:
    """What is measured on it."""
    seen: list[int] = []
    result = measure(SMALL, PICTURE, recorded, TruthfulCamera(SMALL), lambda: seen.append(1))
    assert len(seen) == SMALL.frames
    return result

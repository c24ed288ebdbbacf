"""Videos that are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.videos import filmed
from zmask_ros.io.images.video import Video


@pytest.mark.parametrize("rate_hz", [0.001, 1 / 3, 29.97003, 123.456])
def test_a_video_keeps_pictures_of_any_size_at_any_rate(tmp_path: Path, rate_hz: float) -> None:
    with Video(tmp_path / "a.mp4", rate_hz) as video:
        for height, width in ((48, 64), (24, 32), (96, 128)):
            video.add(np.full((height, width, 3), 200, np.uint8))
    count, rate = filmed(tmp_path / "a.mp4")
    assert count == 3
    assert rate == pytest.approx(max(rate_hz, 0.01), abs=0.01)

"""Videos that are written."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from support.videos import filmed
from zmask_ros.errors import ZmaskError
from zmask_ros.io.images.video import Video


@pytest.mark.parametrize("rate_hz", [0.001, 1 / 3, 29.97003, 123.456])
def test_a_video_keeps_pictures_of_any_size_at_any_rate(tmp_path: Path, rate_hz: float) -> None:
    with Video(tmp_path / "a.mp4", rate_hz) as video:
        for height, width in ((48, 64), (24, 32), (96, 128)):
            video.add(np.full((height, width, 3), 200, np.uint8))
    count, rate = filmed(tmp_path / "a.mp4")
    assert count == 3
    assert rate == pytest.approx(max(rate_hz, 0.01), abs=0.01)


def film(path: Path, pictures: np.ndarray) -> None:
    with Video(path, 10.0) as video:
        for picture in pictures:
            video.add(picture)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_video_that_the_disk_has_no_room_for_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    pictures = np.random.default_rng(0).integers(0, 255, (40, 120, 160, 3), np.uint8)
    path.write_bytes(b"an older one")
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # As on a full disk, writes fail from here on.
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        with pytest.raises(ZmaskError, match=r"of its 40 pictures \d+ can be read again. Is the disk full\?"):
            film(path, pictures)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"an older one"
    assert [own.name for own in tmp_path.iterdir()] == [path.name]

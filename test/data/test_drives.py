"""Drives recorded into bags: one after the other in time, with their truth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from zmask_ros.data.drives import PAUSE_NS, record, street_frames
from zmask_ros.data.street import StreetDrive
from zmask_ros.errors import ZmaskError
from zmask_ros.io.bags.reader import CameraBags, ReadReport


def test_drives_are_recorded_one_after_the_other_with_their_truth(tmp_path: Path) -> None:
    drives = [StreetDrive(seed, 2.0, 1.0, 160, 120, carrier="truck") for seed in (1, 2)]
    told: list[tuple[str, float]] = []

    @contextmanager
    def progress(description: str, unit: str, total: int | None) -> Iterator:
        told.append((description, total or 0))
        yield lambda steps=1, note="": told.append((note, steps))

    bag = tmp_path / "drives.mcap"
    record(bag, street_frames(drives), 4, progress=progress)
    assert told == [("Recording", 4), *[("", 1)] * 4]
    written = [frame for drive in drives for frame in drive]
    for topic, planes in (
        ("/camera/image_raw", [frame.image for frame in written]),
        ("/camera/truth/labels", [frame.labels for frame in written]),
        ("/camera/truth/patch", [frame.patch_mask.astype(np.uint8) * 255 for frame in written]),
    ):
        with CameraBags([bag], topic) as camera:
            frames = list(camera.frames(ReadReport()))
        for frame, plane in zip(frames, planes, strict=True):
            np.testing.assert_array_equal(frame.image if plane.ndim == 3 else frame.image[..., 0], plane)
        stamps = [frame.stamp_ns for frame in frames]
        assert np.diff(stamps).tolist() == [1_000_000_000, PAUSE_NS + written[2].stamp_ns, 1_000_000_000]
    with pytest.raises(ZmaskError, match="exists already"):
        record(bag, street_frames(drives), 4)

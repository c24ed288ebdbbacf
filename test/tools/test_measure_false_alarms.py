"""What the table of false alarms counts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from measure_false_alarms import CLIPS, STILLS, AlarmFigures, Footage, clip, figures, table

from support import tiny_network
from support.patched_street import attacked_image
from zmask_ros.runtime.camera import DefendedCamera

STEP_NS = 100_000_000


def test_frames_are_counted_in_both_modes(segmenter, fitted) -> None:
    images = [tiny_network.clean_image(0), *[attacked_image()] * 2]
    stamped = tuple((number * STEP_NS, image) for number, image in enumerate(images))
    camera = DefendedCamera(segmenter, fitted)
    moving = figures(camera, "tiny", "fit", Footage(CLIPS, "a", stamped))
    assert moving == AlarmFigures("tiny", "fit", CLIPS, "a", 3, 2, 2, 2, 2)
    alone = figures(camera, "tiny", "fit", Footage(STILLS, "stills", stamped, is_stream=False))
    assert (alone.flagged, alone.streamed_flagged, alone.streamed_masked) == (2, None, None)
    rows = table([moving, moving, alone]).splitlines()[2:]
    assert [[cell.strip() for cell in row.split("|")[3:9]] for row in rows] == [
        [CLIPS, "6", "4", "4", "4", "4"],
        [STILLS, "3", "2", "-", "2", "-"],
    ]


def test_a_clip_is_read_at_about_ten_frames_a_second(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "a.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (64, 48))
    for value in range(12):
        writer.write(np.full((48, 64, 3), 20 * value, np.uint8))
    writer.release()
    own = clip(tmp_path / "a.mp4")
    assert (own.kind, own.name) == (CLIPS, "a") and [stamp // STEP_NS for stamp, _ in own.frames] == [0, 1, 2, 3]
    shades = [float(image.mean()) for _, image in own.frames]
    assert np.allclose(shades, [0, 60, 120, 180], atol=4)

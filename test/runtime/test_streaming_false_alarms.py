"""Real roads of other cameras: streaming has no more false alarms than full analysis, on any clip."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from zmask_ros.defense import load_profile
from zmask_ros.flags.flag import FrameState
from zmask_ros.resources import shipped_profile
from zmask_ros.runtime.camera import CameraStream, DefendedCamera
from zmask_ros.segmenters import load_segmenter

ROADS = Path(os.environ.get("ZMASK_ROADS", ""))
NAME = "lraspp_camvid"
FRAMES = 120
CLIPS = sorted((ROADS / "clips").glob("*.mp4")) if "ZMASK_ROADS" in os.environ else []

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CLIPS, reason="Road clips are not here: set ZMASK_ROADS")]


@pytest.fixture(scope="module")
def camera() -> DefendedCamera:
    return DefendedCamera(load_segmenter(NAME, "cpu"), load_profile(shipped_profile(NAME)))


def frames(clip: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Time in nanoseconds and RGB image of the first frames, as they were filmed: streaming needs each."""
    video = cv2.VideoCapture(str(clip))
    rate_hz = video.get(cv2.CAP_PROP_FPS)
    for index in range(FRAMES):
        read, image = video.read()
        if not read:
            return
        yield round((index + 1) * 1e9 / rate_hz), cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.stem)
def test_streaming_flags_and_masks_no_more_than_full_analysis(camera: DefendedCamera, clip: Path) -> None:
    stream, seen = CameraStream(), []
    for stamp_ns, image in frames(clip):
        results = camera.process_image(image), camera.process_image(image, stream, stamp_ns)
        assert FrameState.UNKNOWN not in {result.state for result in results}
        seen.append([(result.state is FrameState.ATTACK, result.mask_fraction > 0) for result in results])
    # [N, 2, 2]: full analysis and streaming, flagged and masked.
    full, streaming = np.array(seen).sum(0)
    assert len(seen) > FRAMES // 2
    assert streaming[0] <= full[0], "flagged"
    assert streaming[1] <= full[1], "masked"

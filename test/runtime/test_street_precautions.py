"""The street that `street_camera` drives by default, played in lockstep with the shipped profile.

One advertisement beside it looks to the evidence head a little like a patch, on the whole drive: half of the frames are
above the masking threshold. A mask on it makes no difference, and is taken back. Dropped frames and the jump back in a
loop add nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support import tiny_network
from zmask_ros.data.street import StreetDrive
from zmask_ros.defense import load_profile, save_profile
from zmask_ros.defense.profile.detector import Threshold
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.node.parameters.street_camera import StreetCameraParameters
from zmask_ros.resources import shipped_profile
from zmask_ros.runtime.camera import CameraResult, CameraStream, DefendedCamera
from zmask_ros.runtime.replay import Replayed, ReplaySettings, replay
from zmask_ros.segmenters import load_segmenter

NAME = "lraspp_camvid"
DEFAULT = StreetCameraParameters()
BEFORE_THE_BOARD, AT_THE_BOARD = range(80, 100, 4), range(268, 284, 4)
"""Frames in which nothing is suspicious, and frames near the only ones that are flagged."""
LOOPS = 2


def street() -> StreetDrive:
    size = DEFAULT.width, DEFAULT.height
    return StreetDrive(DEFAULT.seed, DEFAULT.duration_s, DEFAULT.rate_hz, *size, DEFAULT.carrier)


def said(result: CameraResult) -> tuple[FrameState, bool]:
    """The state, and whether something is masked."""
    return result.state, bool(result.regions)


def test_dropped_frames_and_a_loop_mask_no_more_than_the_full_analysis_of_each_frame() -> None:
    camera, drive = DefendedCamera(load_segmenter(NAME, "cpu"), load_profile(shipped_profile(NAME))), street()
    frames = [(drive.stamp_ns(index), drive[index].image) for index in (*BEFORE_THE_BOARD, *AT_THE_BOARD)]
    alone = [said(camera.process_image(image)) for _, image in frames]
    assert {masked for _, masked in alone} == {False, True}
    stream = CameraStream()
    for _ in range(LOOPS):
        assert [said(camera.process_image(image, stream, stamp_ns)) for stamp_ns, image in frames] == alone


def test_a_benign_advertisement_is_hardly_ever_masked() -> None:
    camera, drive = DefendedCamera(load_segmenter(NAME, "cpu"), load_profile(shipped_profile(NAME))), street()
    results = [camera.process_image(drive[index].image) for index in range(0, len(drive), 10)]
    above = sum(result.score > camera.defense.thresholds.masking for result in results)
    assert above > 0.4 * len(results)
    assert sum(bool(result.regions) for result in results) <= 0.15 * len(results)


@pytest.mark.parametrize(("rate", "warned"), [(0.01, True), (0.5, False)])
def test_a_profile_that_masks_far_more_than_it_was_set_for_says_so(
    tmp_path: Path, places: tuple[Path, Path], rate: float, warned: bool
) -> None:
    description, path = places
    profile = load_profile(path)
    # Nearly every frame scores more than that.
    precaution = Threshold(1e-9, rate, 100, 0.1)
    own = replace(profile, detector=replace(profile.detector, precaution=precaution), screen=None)
    save_profile(own, tmp_path / "own.zmask.safetensors")
    done = replayed(tmp_path, description, tmp_path / "own.zmask.safetensors", [*range(60)])
    masked = np.mean([flag.mask_fraction > 0.0 for flag in done.flags])
    assert masked > 4 * 0.01
    assert any("masked as a precaution, and the profile is set for 1%" in line for line in done.warnings()) == warned


def replayed(folder: Path, description: Path, profile: Path, indices: list[int]) -> Replayed:
    """The replay of clean images of the tiny network."""
    with BagWriter(folder / "drive") as bag:
        for index in indices:
            bag.write_image("/front/image_raw", tiny_network.clean_image(index), "rgb8", 1 + index * 10**8, "front")
    return replay(ReplaySettings(folder / "drive", str(description), "cpu", profile=profile))

"""A replay's figures and the flags in the bag that it writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import bag_makers, tiny_network
from support.flag_bags import read_flags
from support.patched_street import attacked_image
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.bags.recorded_pictures import RecordedPictures
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.runtime.patch_truth import FoundPatches, mask_iou
from zmask_ros.runtime.replay import Replayed, ReplaySettings, replay
from zmask_ros.runtime.replay_figures import replay_figures

TOPIC = "/front/image_raw"
FRAME_NS = 66_666_667


def replayed(
    folder: Path, places: tuple[Path, Path], images: list[np.ndarray], stamps: list[int], streaming: bool
) -> tuple[Replayed, list[Any]]:
    """The replay of these images, and the flags that it wrote."""
    with BagWriter(folder / "drive") as bag:
        for index, (image, stamp) in enumerate(zip(images, stamps, strict=True)):
            bag.write_image(TOPIC, image, "rgb8", stamp, "front", received_ns=index)
    segmenter, profile = places
    output = folder / "out"
    settings = ReplaySettings(
        folder / "drive", str(segmenter), "cpu", profile=profile, streaming=streaming, output=output
    )
    return replay(settings), read_flags(output, "/front/zmask/attack")


def counts(flags: list[Any]) -> list[tuple[int, ...]]:
    return [(flag.sequence, flag.received, flag.processed, flag.dropped, flag.failed) for flag in flags]


def test_a_frame_that_the_screening_alone_has_seen_is_processed(tmp_path: Path, places: tuple[Path, Path]) -> None:
    images = [tiny_network.clean_image(index) for index in range(30)]
    done, flags = replayed(tmp_path, places, images, [index * FRAME_NS for index in range(30)], streaming=True)
    assert 0 < sum(done.analyzed) < 20, "the screening left no frame to itself"
    assert FrameState.UNKNOWN not in {flag.state for flag in done.flags}
    assert counts(flags) == [(number, number, number, 0, 0) for number in range(1, 31)]


def test_the_alarm_is_raised_anew_when_a_drive_begins_anew(tmp_path: Path, places: tuple[Path, Path]) -> None:
    stamps = [10 * FRAME_NS, 11 * FRAME_NS, 2 * FRAME_NS]
    done, flags = replayed(tmp_path, places, [attacked_image()] * 3, stamps, streaming=False)
    assert ([flag.state for flag in done.flags], done.alarms) == ([FrameState.ATTACK] * 3, 2)
    assert [flag.alarm for flag in flags] == [flags[0].ATTACK] * 3


def test_nothing_is_written_where_nothing_is_wanted(tmp_path: Path, places: tuple[Path, Path]) -> None:
    with BagWriter(tmp_path / "drive") as bag:
        bag.write_image(TOPIC, tiny_network.clean_image(0), "rgb8", 1, "front")
    segmenter, profile = places
    done = replay(ReplaySettings(tmp_path / "drive", str(segmenter), "cpu", profile=profile))
    assert len(done.flags) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["drive"]


def test_a_drive_of_which_no_frame_can_be_decoded_is_refused(tmp_path: Path, places: tuple[Path, Path]) -> None:
    bag_makers.write_raw(tmp_path / "drive", [bag_makers.image_bytes(0, encoding="rgb9")] * 3)
    segmenter, profile = places
    output = tmp_path / "out.mcap"
    with pytest.raises(ZmaskError, match="Not one of the 3 frames of /front/image_raw could be analyzed, the first: "):
        replay(ReplaySettings(tmp_path / "drive", str(segmenter), "cpu", profile=profile, output=output))
    assert not output.exists()


def drive_with_truth(folder: Path, planes: list[np.ndarray | None]) -> ReplaySettings:
    """Clean frames first, then as many attacked ones, with these truths."""
    images = [tiny_network.clean_image(index) for index in range(len(planes) // 2)]
    images += [attacked_image()] * (len(planes) - len(images))
    with BagWriter(folder / "drive") as bag:
        for index, (image, plane) in enumerate(zip(images, planes, strict=True)):
            bag.write_image("/front/image_raw", image, "rgb8", index * FRAME_NS, "front")
            if plane is not None:
                bag.write_image("/front/truth/patch", plane, "mono8", index * FRAME_NS, "front")
    return ReplaySettings(folder / "drive", "", "cpu", output=folder / "out")


def test_what_was_found_of_patches_whose_place_is_known(tmp_path: Path, places: tuple[Path, Path]) -> None:
    nothing = np.zeros(attacked_image().shape[:2], np.uint8)
    patch, speck = nothing.copy(), nothing.copy()
    patch[10:30, 10:30] = 255
    speck[:2, :2] = 255
    # An attacked frame without a patch in the truth, one with too small a patch, and one of which nothing is known.
    settings = drive_with_truth(tmp_path, [nothing, nothing, patch, speck, patch, patch, nothing, None])
    segmenter, profile = places
    done = replay(replace(settings, segmenter=str(segmenter), profile=profile))
    with RecordedPictures(tmp_path / "out", "/front/zmask/mask") as masks:
        overlaps = [mask_iou(masks.plane_at(index * FRAME_NS), patch) for index in (2, 4, 5)]
    assert done.patches == FoundPatches(overlaps, flagged=2, without=3, false_alarms=1)
    figures = replay_figures(done)
    assert (figures["frames_with_a_patch"], figures["flagged_of_these"], figures["false_alarms"]) == (3, 2, 1)
    assert figures["mask_iou"] == pytest.approx(sum(overlaps) / 3) and overlaps[0] < max(overlaps)


def test_without_a_truth_nothing_is_said_of_it(tmp_path: Path, places: tuple[Path, Path]) -> None:
    settings = drive_with_truth(tmp_path, [None, None])
    segmenter, profile = places
    done = replay(replace(settings, segmenter=str(segmenter), profile=profile))
    assert done.patches is None and "mask_iou" not in replay_figures(done)

"""A replay's figures and the flags in the bag that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import bag_makers, tiny_network
from support.flag_bags import read_flags
from support.patched_street import attacked_image
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.runtime.replay import Replayed, ReplaySettings, replay

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

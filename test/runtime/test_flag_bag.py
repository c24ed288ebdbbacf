"""Flags in the bag that a replay writes, as other readers find them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader

from zmask_ros.flags.flag import Flag, FrameCounts, FrameState, Region
from zmask_ros.flags.topics import ATTACK_FLAG
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.runtime.flag_bag import flag_message

STAMP_NS = 1_500_000_001


def read_back(folder: Path, flag: Flag) -> Any:
    """The flag as it comes out of a bag, read by nothing of ours."""
    with BagWriter(folder / "bag") as writer:
        writer.write_message("/zmask/attack", ATTACK_FLAG, flag_message(flag, STAMP_NS, "front"), STAMP_NS)
    with AnyReader([folder / "bag"]) as reader:
        ((connection, _, data),) = reader.messages()
        return reader.deserialize(data, connection.msgtype)


def test_a_flag_comes_back_with_all_its_fields(tmp_path: Path) -> None:
    flag = Flag(
        FrameState.ATTACK,
        0.5,
        0.25,
        score=0.75,
        mask_fraction=0.125,
        regions=(Region(4, 5, 30, 20, 0.5, 0.125),),
        stages_ms={"network": 11.0, "resize": 1.5},
        camera="front",
        alarm=FrameState.CLEAN,
        profile="a.zmask.safetensors@0123456789ab",
        sequence=9,
        latency_ms=12.5,
        counts=FrameCounts(12, 9, 2, 1),
    )
    found = read_back(tmp_path, flag)
    (region,) = found.regions
    box = region.box
    assert (box.x_offset, box.y_offset, box.width, box.height) == (4, 5, 30, 20)
    assert (region.score, region.fraction) == (0.5, 0.125)
    assert (found.header.stamp.sec, found.header.stamp.nanosec, found.header.frame_id) == (1, 500_000_001, "front")
    same = {name: getattr(found, name) for name in flag.message_fields()} | {"stages_ms": found.stages_ms.tolist()}
    assert same == flag.message_fields()
    assert {*same, "header", "regions"} == {
        field.name for field in dataclasses.fields(found) if field.name.islower() and not field.name.startswith("_")
    }


def test_a_flag_without_score_or_region(tmp_path: Path) -> None:
    found = read_back(tmp_path, Flag(FrameState.UNKNOWN, 0.5, 0.5, "An image of 0x4 pixels has no content."))
    assert found.state == found.UNKNOWN
    assert math.isnan(found.score)
    assert found.regions == []
    assert found.reason.startswith("An image")

"""The messages of the node."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from support.node_processes import header
from zmask_ros.flags.flag import Flag, FrameCounts, FrameState, Region
from zmask_ros.msg import AttackFlag
from zmask_ros.node.messages import ADVERSARIAL, PRECAUTION, detections_message, flag_message, region_class

LARGE, SMALL = Region(10, 20, 30, 40, 0.75, 0.5), Region(1, 2, 3, 4, 0.25, 0.125)
ATTACKED = Flag(
    FrameState.ATTACK,
    0.5,
    0.25,
    score=0.7,
    mask_fraction=0.625,
    regions=(LARGE, SMALL),
    stages_ms={"wait": 1.0, "network": 11.0},
    camera="front",
    alarm=FrameState.CLEAN,
    profile="a.zmask.safetensors@0123456789ab",
    sequence=9,
    latency_ms=12.5,
    counts=FrameCounts(12, 9, 2, 1),
)


def test_a_flag_says_all_there_is() -> None:
    flag = flag_message(header(3), ATTACKED)
    assert (flag.header, flag.camera, flag.state, flag.alarm) == (header(3), "front", flag.ATTACK, flag.CLEAN)
    assert [(region.box.width, region.score, region.fraction) for region in flag.regions] == [
        (30, 0.75, 0.5),
        (3, 0.25, 0.125),
    ]
    counts = (flag.sequence, flag.received, flag.processed, flag.dropped, flag.failed)
    assert (flag.threshold, flag.masking_threshold) == (0.5, 0.25)
    assert (flag.stages, list(flag.stages_ms), flag.latency_ms) == (["wait", "network"], [1.0, 11.0], 12.5)
    assert (flag.profile, counts) == (ATTACKED.profile, (9, 12, 9, 2, 1))


def test_a_frame_that_nothing_is_known_of_has_no_score() -> None:
    flag = flag_message(header(3), Flag(FrameState.UNKNOWN, 0.5, 0.25, "it was dropped"))
    assert (flag.state, flag.reason, math.isnan(flag.score), flag.regions) == (flag.UNKNOWN, "it was dropped", True, [])
    assert AttackFlag().state == AttackFlag().alarm == AttackFlag.UNKNOWN, "an empty message is not clean"


def test_only_an_attack_is_called_adversarial() -> None:
    assert region_class(flag_message(header(3), ATTACKED)) == ADVERSARIAL
    assert region_class(flag_message(header(3), replace(ATTACKED, state=FrameState.CLEAN))) == PRECAUTION


def test_regions_are_detections_for_tools_that_know_those() -> None:
    pytest.importorskip("vision_msgs", reason="vision_msgs is not installed")
    message = detections_message(flag_message(header(3), ATTACKED))
    assert message.header == header(3)
    large = message.detections[0]
    assert (large.bbox.center.position.x, large.bbox.center.position.y) == (25.0, 40.0)
    assert (large.bbox.size_x, large.bbox.size_y) == (30.0, 40.0)
    (result,) = large.results
    assert (result.hypothesis.class_id, result.hypothesis.score) == (ADVERSARIAL, 0.75)
    assert len(message.detections) == 2


def test_every_field_of_the_message_comes_from_the_flag() -> None:
    assert {*ATTACKED.message_fields(), "header", "regions"} == set(AttackFlag.get_fields_and_field_types())
    constants = {name: getattr(AttackFlag, name) for name in FrameState.__members__}
    assert constants == {state.name: state.value for state in FrameState}

"""Which aims of the demo count as met."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from zmask_ros.demo.aims import AIMS, judge, verdict
from zmask_ros.demo.measure import DemoFigures

GOOD = DemoFigures(
    frames=10,
    frames_sent=10,
    flags_received=10,
    frames_unknown=0,
    frames_attacked=5,
    frames_over_1_percent=4,
    recall=0.95,
    false_alarm_rate=0.01,
    mask_iou=0.7,
    miou_clean=0.75,
    miou_attacked=0.625,
    miou_oracle=0.75,
    miou_defended=0.75,
    node_latency_ms_p50=10.0,
    node_latency_ms_p99=20.0,
    playback_rate=0.9,
    seconds=60.0,
)
WORSE = {
    "flags_received": 9,
    "frames_unknown": 1,
    "recall": 0.94,
    "false_alarm_rate": 0.02,
    "mask_iou": 0.69,
    "miou_attacked": 0.672,
    "miou_defended": 0.71,
    "playback_rate": 0.89,
}


def test_every_aim_is_of_a_figure_and_met_at_its_bound() -> None:
    assert {aim.figure for aim in AIMS} == WORSE.keys() <= {own.name for own in fields(DemoFigures)}
    assert all(found.met for found in judge(GOOD).values())
    assert verdict(GOOD).startswith("No aim was missed. Camera and defense ran at 0.90 of real time")


@pytest.mark.parametrize("name", WORSE)
def test_an_aim_that_is_missed_is_said(name: str) -> None:
    figures = replace(GOOD, **{name: WORSE[name]})
    verdicts = judge(figures)
    assert [other for other, found in verdicts.items() if found.met is not True] == [name]
    assert verdicts[name].mark.endswith(": MISSED")
    assert f"Aims missed: {name}." in verdict(figures)


def test_an_aim_is_written_as_it_is_meant() -> None:
    assert judge(GOOD)["miou_attacked"].mark == "<= miou_clean - 0.1: met"
    assert judge(GOOD)["flags_received"].aim == ">= frames_sent"


def test_what_is_not_defined_is_neither_met_nor_missed() -> None:
    without_patch = replace(GOOD, recall=None, miou_clean=None, playback_rate=None)
    verdicts = judge(without_patch)
    assert [name for name, found in verdicts.items() if found.met is None] == [
        "recall",
        "miou_attacked",
        "miou_defended",
        "playback_rate",
    ]
    assert verdicts["recall"].mark == ">= 0.95: not measured"
    assert verdict(without_patch) == "No aim was missed."

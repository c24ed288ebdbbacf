"""What the demo measures, on a small drive whose truth is known."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import pytest

from support.recorded_drive import SMALL
from zmask_ros.demo.drive import DriveCounts
from zmask_ros.demo.measure import CASES, Measurement, Outcome, summarize, unflagged_frames
from zmask_ros.evaluation.metrics.segmentation import Confusion


def test_figures_follow_from_what_was_recorded(found: Measurement) -> None:
    figures = summarize(found, SMALL, DriveCounts(10, 0), 1.5)
    assert (figures.frames, figures.flags_received, figures.frames_unknown) == (10, 10, 1)
    assert (figures.frames_attacked, figures.frames_over_1_percent) == (5, 5)
    assert figures.recall == pytest.approx(3 / 5)
    assert figures.false_alarm_rate == pytest.approx(1 / 5)
    assert figures.mask_iou == pytest.approx((0 + 0 + 0.5 + 1 + 1) / 5, abs=0.02)
    assert figures.miou_clean == figures.miou_oracle == figures.miou_defended == 1.0
    assert 0 < figures.miou_attacked < 0.2
    assert figures.node_latency_ms_p50 == pytest.approx(14.5)
    # Recorded every 0.3 s, driven every 0.2 s.
    assert figures.playback_rate == pytest.approx(2 / 3)


def test_a_frame_without_flag_counts_as_missed(found: Measurement) -> None:
    lost = [Outcome(o.index, o.stamp_ns, o.cover, None if o.index == 7 else o.flag, o.mask_iou) for o in found.outcomes]
    fewer = replace(found, outcomes=lost)
    assert summarize(fewer, SMALL, DriveCounts(10, 0), 0.0).recall == pytest.approx(2 / 5)
    assert unflagged_frames(fewer, DriveCounts(10, 0)) == 1
    assert unflagged_frames(found, DriveCounts(10, 0)) == 0
    assert unflagged_frames(found, DriveCounts(10, 2)) == 2


def test_a_drive_without_patch_has_no_figures_of_it() -> None:
    confusions = {case: Confusion(11) for case in CASES}
    found = Measurement(confusions, [Outcome(index, index, 0.0, None, math.nan) for index in range(4)])
    figures = summarize(found, SMALL, DriveCounts(4, 4), 0.0)
    assert figures.recall is None and figures.mask_iou is None and figures.miou_clean is None
    json.dumps(asdict(figures), allow_nan=False)

"""Which moments of a drive are shown, and the contact sheet of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from support.recorded_drive import PICTURE, SMALL, TruthfulCamera
from zmask_ros.demo.measure import Measurement, Outcome
from zmask_ros.demo.pictures import contact_sheet_of, moments


def outcome(index: int, cover: float) -> Outcome:
    return Outcome(index, index, cover, None, math.nan)


def test_five_moments_in_time() -> None:
    covers = [0, 0, 0, 0.02, 0.05, 0.09, 0.011, 0, 0, 0.0]
    chosen = moments([outcome(index, cover) for index, cover in enumerate(covers)])
    assert [(name, o.index) for name, o in chosen] == [
        ("before", 1),
        ("small", 3),
        ("middling", 4),
        ("large", 5),
        ("after", 8),
    ]


def test_a_drive_without_patch_has_one_moment() -> None:
    assert len(moments([outcome(index, 0.0) for index in range(4)])) == 1


def test_contact_sheet_has_a_row_a_moment(recorded: Path, found: Measurement) -> None:
    sheet = contact_sheet_of(found, SMALL, PICTURE, recorded, TruthfulCamera(SMALL))
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] > 5 * 240
    assert sheet.shape[1] > 4 * 320

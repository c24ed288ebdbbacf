"""Clean and attacked versions of the same frames, with figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.metrics.records import Verdict
from zmask_ros.evaluation.performance.paired import PairedFigures, PairedFrame, evaluate_pairs


class BrightFlag:
    """Flags and masks what is bright; the network calls dark pixels class 0, and bright ones class 1."""

    name = "bright"
    threshold = 0.5

    def process(self, image: np.ndarray) -> Verdict:
        bright = image[..., 0] > 100
        labels = bright.astype(np.uint8)
        return Verdict(1.0, bool(bright.any()), bright, np.zeros_like(labels), labels)


def test_figures_by_hand() -> None:
    dark, bright = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    bright[:2] = 200
    patch = np.zeros((4, 4), bool)
    patch[0] = True
    pairs = [PairedFrame(dark, bright, np.zeros((4, 4), np.uint8), patch)] * 2
    assert evaluate_pairs(BrightFlag(), 2, pairs) == PairedFigures(
        frames=2,
        false_alarm_rate=0.0,
        recall=1.0,
        mask_iou=0.5,
        patch_share=0.25,
        miou_clean=1.0,
        miou_clean_defended=1.0,
        miou_attacked=pytest.approx(2 / 3),
        miou_defended=1.0,
    )


def test_no_pairs_are_refused() -> None:
    with pytest.raises(ZmaskError, match="no frame"):
        evaluate_pairs(BrightFlag(), 2, [])

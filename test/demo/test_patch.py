"""The shipped patch for the demo's carrier does to the network what the demo says that it does."""

from __future__ import annotations

import numpy as np

from zmask_ros.attacks import load_patch
from zmask_ros.demo.aims import AIMS
from zmask_ros.demo.scenario import Scenario
from zmask_ros.evaluation.metrics.segmentation import Confusion
from zmask_ros.resources import DEFAULT_SEGMENTER, shipped_patch
from zmask_ros.runtime.camera import labels_without
from zmask_ros.segmenters import load_segmenter

EVERY_S = 1.5


def test_the_patch_takes_away_what_the_demo_aims_at() -> None:
    scenario, segmenter = Scenario(), load_segmenter(DEFAULT_SEGMENTER, "cpu")
    attacked = scenario.drive(load_patch(shipped_patch(segmenter.name, scenario.carrier)))
    clean = scenario.drive(None)
    after, before = Confusion(len(segmenter.classes)), Confusion(len(segmenter.classes))
    step = round(EVERY_S * scenario.rate_hz)
    for index in filter(scenario.shows_picture, range(0, len(attacked), step)):
        truth = attacked[index]
        outside = ~truth.patch_mask
        nothing = np.zeros(outside.shape, bool)
        for confusion, image in ((after, truth.image), (before, clean[index].image)):
            confusion.add(labels_without(segmenter, image, nothing), truth.labels, outside)
    (aim,) = (aim for aim in AIMS if aim.figure == "miou_attacked")
    assert after.miou() <= before.miou() + aim.bound

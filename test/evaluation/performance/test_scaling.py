"""How the cost of the defense grows."""

from __future__ import annotations

from zmask_ros.evaluation.performance.benchmark import clean_frames
from zmask_ros.evaluation.performance.scaling import TORCHVISION, measure_cost, torchvision_segmenter


def test_networks_of_torchvision_can_be_timed() -> None:
    segmenter = torchvision_segmenter("lraspp_mobilenet_v3_large", (96, 128), "cpu")
    cost = measure_cost(segmenter, clean_frames(2, 128, 96), TORCHVISION["lraspp_mobilenet_v3_large"])
    assert cost.plain_ms > 0
    assert cost.two_pass > 1.2

"""Metrics and benchmarks."""

from zmask_ros.evaluation.bench import PairedTimes, Quartiles, plain_labels, time_pairs
from zmask_ros.evaluation.metrics import Confusion, Detections, count_detections, mask_iou

__all__ = [
    "Confusion",
    "Detections",
    "PairedTimes",
    "Quartiles",
    "count_detections",
    "mask_iou",
    "plain_labels",
    "time_pairs",
]

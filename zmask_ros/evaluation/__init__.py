"""Metrics, other defences to compare with, benchmarks, and the evaluation behind `zmask evaluate`."""

from zmask_ros.evaluation.metrics.detection import Roc, false_alarms_an_hour, recovery, roc
from zmask_ros.evaluation.metrics.intervals import Interval, bootstrap, rate_interval
from zmask_ros.evaluation.metrics.segmentation import Confusion, Detections, count_detections, mask_iou
from zmask_ros.evaluation.performance.overhead import PairedTimes, Quartiles, plain_labels, time_pairs

__all__ = [
    "Confusion",
    "Detections",
    "Interval",
    "PairedTimes",
    "Quartiles",
    "Roc",
    "bootstrap",
    "count_detections",
    "false_alarms_an_hour",
    "mask_iou",
    "plain_labels",
    "rate_interval",
    "recovery",
    "roc",
    "time_pairs",
]

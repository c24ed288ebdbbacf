"""Metrics, other defences to compare with, benchmarks, and the evaluation behind `zmask evaluate`."""

from zmask_ros.evaluation.bench import PairedTimes, Quartiles, plain_labels, time_pairs
from zmask_ros.evaluation.detection import Roc, false_alarms_an_hour, recovery, roc
from zmask_ros.evaluation.intervals import Interval, bootstrap, rate_interval
from zmask_ros.evaluation.metrics import Confusion, Detections, count_detections, mask_iou

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

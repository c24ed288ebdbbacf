"""Metrics and benchmarks."""

from zmask_ros.evaluation.metrics import Confusion, Detections, count_detections, mask_iou

__all__ = ["Confusion", "Detections", "count_detections", "mask_iou"]

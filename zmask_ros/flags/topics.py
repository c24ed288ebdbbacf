"""TODO."""

from __future__ import annotations

ATTACK_TOPIC = "zmask/attack"
SUMMARY_TOPIC = "zmask/summary"
DETECTIONS_TOPIC = "zmask/detections"
CAMERA_INFO_TOPIC = "zmask/camera_info"
LABEL_INFO_TOPIC = "zmask/label_info"

"""Names of the topics in a camera's namespace, and of the message types that only this package has."""

from __future__ import annotations

ATTACK_TOPIC = "zmask/attack"
SUMMARY_TOPIC = "zmask/summary"
DETECTIONS_TOPIC = "zmask/detections"
CAMERA_INFO_TOPIC = "zmask/camera_info"
LABEL_INFO_TOPIC = "zmask/label_info"

ATTACK_FLAG = "zmask_ros/msg/AttackFlag"
ATTACK_REGION = "zmask_ros/msg/AttackRegion"

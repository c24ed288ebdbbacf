"""Names of the topics in a camera's namespace, and of the message types that only this package has."""

from __future__ import annotations

IMAGE_TOPIC = "image_raw"
ATTACK_TOPIC = "zmask/attack"
SUMMARY_TOPIC = "zmask/summary"
DETECTIONS_TOPIC = "zmask/detections"
CAMERA_INFO_TOPIC = "zmask/camera_info"
LABEL_INFO_TOPIC = "zmask/label_info"

ATTACK_FLAG = "zmask_ros/msg/AttackFlag"
ATTACK_REGION = "zmask_ros/msg/AttackRegion"

TRANSPORTS = ("compressed", "ffmpeg", "foxglove")
"""What image_transport puts behind the name of an image topic whose messages are no plain images."""

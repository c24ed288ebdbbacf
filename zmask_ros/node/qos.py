"""Quality of service of every topic; each can be overridden through `qos_overrides` parameters."""

from __future__ import annotations

import copy
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions


def keep_last(
    depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy = DurabilityPolicy.VOLATILE
) -> QoSProfile:
    """A quality of service that keeps the last ``depth`` messages."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


OVERRIDABLE = QoSOverridingOptions(
    (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
)
# An old frame is worth nothing, so it is not sent again.
IMAGE_IN = keep_last(1, ReliabilityPolicy.BEST_EFFORT)
# A packet of video that is lost takes those after it along; still, best effort receives from every publisher.
VIDEO_IN = keep_last(30, ReliabilityPolicy.BEST_EFFORT)
CAMERA_INFO_IN = keep_last(5, ReliabilityPolicy.BEST_EFFORT)
# Reliable satisfies subscribers of both kinds.
IMAGE_OUT = keep_last(1, ReliabilityPolicy.RELIABLE)
# When the network comes back from being stuck, or the executor from a reload, the flags of seconds leave at once.
FLAG_OUT = keep_last(100, ReliabilityPolicy.RELIABLE)
# Late subscribers get it as well.
LABEL_INFO_OUT = keep_last(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
SUMMARY_OUT = LABEL_INFO_OUT
DIAGNOSTICS_OUT = keep_last(10, ReliabilityPolicy.RELIABLE)
# As camera drivers do: each subscriber chooses for itself.
CAMERA_OUT = keep_last(10, ReliabilityPolicy.RELIABLE)
# As rosbag2 does, and what every node with use_sim_time receives.
CLOCK_OUT = keep_last(1, ReliabilityPolicy.BEST_EFFORT)


def create_publisher(node: Node, kind: type, topic: str, qos: QoSProfile) -> Publisher:
    """A publisher whose quality of service users can override."""
    return node.create_publisher(kind, topic, copy.copy(qos), qos_overriding_options=OVERRIDABLE)


def create_subscription(node: Node, kind: type, topic: str, callback: Any, qos: QoSProfile, **options: Any) -> Any:
    """A subscription whose quality of service users can override."""
    # rclpy writes the overrides into its argument, and this profile is shared.
    return node.create_subscription(
        kind, topic, callback, copy.copy(qos), qos_overriding_options=OVERRIDABLE, **options
    )

"""Quality of service of every topic; each can be overridden through `qos_overrides` parameters."""

from __future__ import annotations

import copy
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions


def _profile(depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


# An old frame is worth nothing, so it is not sent again.
IMAGE_IN = _profile(1, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
CAMERA_INFO_IN = _profile(5, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
# Reliable satisfies subscribers of both kinds.
IMAGE_OUT = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
# When the network comes back from being stuck, or the executor from a reload, the flags of seconds leave at once.
FLAG_OUT = _profile(100, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
# Late subscribers get it as well.
LABEL_INFO_OUT = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
SUMMARY_OUT = LABEL_INFO_OUT
DIAGNOSTICS_OUT = _profile(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)


def overridable() -> QoSOverridingOptions:
    """Lets users set history, depth, reliability and durability."""
    return QoSOverridingOptions(
        (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
    )


def create_publisher(node: Node, kind: type, topic: str, qos: QoSProfile) -> Publisher:
    """A publisher whose quality of service users can override."""
    return node.create_publisher(kind, topic, copy.copy(qos), qos_overriding_options=overridable())


def create_subscription(node: Node, kind: type, topic: str, callback: Any, qos: QoSProfile, **options: Any) -> Any:
    """A subscription whose quality of service users can override."""
    # rclpy writes the overrides into the profile that it is given, which others use, too.
    return node.create_subscription(
        kind, topic, callback, copy.copy(qos), qos_overriding_options=overridable(), **options
    )

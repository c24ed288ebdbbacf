"""Sends assessments to /diagnostics."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from zmask_ros.node.diagnostics.health import Assessment, assess_safely
from zmask_ros.node.qos import DIAGNOSTICS_OUT, create_publisher

Task = Callable[[], Assessment]
Tasks = dict[str, Task]


class DiagnosticsPublisher:
    """Asks for the tasks periodically, assesses each and publishes what they say."""

    def __init__(self, node: Node, hardware_id: str, period_s: float, tasks: Callable[[], Tasks]) -> None:
        self._node = node
        self._hardware_id = hardware_id
        self._tasks = tasks
        self._publisher = create_publisher(node, DiagnosticArray, "/diagnostics", DIAGNOSTICS_OUT)
        # Simulated time that stands still, or a bag that is over, must not silence it.
        node.create_timer(period_s, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self) -> None:
        """Publish now."""
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.status = [self._status(assess_safely(*task)) for task in self._tasks().items()]
        self._publisher.publish(message)

    def _status(self, assessment: Assessment) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=bytes([assessment.level]),
            name=f"{self._node.get_name()}: {assessment.name}",
            message=assessment.message,
            hardware_id=self._hardware_id,
            values=[KeyValue(key=key, value=value) for key, value in assessment.values.items()],
        )

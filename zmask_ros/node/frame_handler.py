"""What becomes of the frames that the worker takes: refused, or defended by the network, flagged, and drawn."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rclpy.node import Node

from zmask_ros.errors import describe_error
from zmask_ros.node.camera_channel import LOG_EVERY_S, CameraChannel
from zmask_ros.node.mailbox import Arrival
from zmask_ros.node.network_host import NetworkHost, Report
from zmask_ros.node.throttle import at_most_every

if TYPE_CHECKING:
    from zmask_ros.runtime.camera import CameraResult


class FrameHandler:
    """The `Handler` of the worker: one network, and the channel of each camera by its name.

    Args:
        network: defends the frames of all cameras.
        channels: publish the results, each those of its camera.
        report: called with every unexpected exception and the cameras whose frames were being processed.
    """

    def __init__(self, network: NetworkHost, channels: Mapping[str, CameraChannel], report: Report) -> None:
        self._network = network
        self._channels = channels
        self.report = report

    @property
    def batch_limit(self) -> int:
        """How many frames may be worked on together."""
        return self._network.batch_limit

    def process(self, arrivals: Sequence[Arrival]) -> Iterator[tuple[Arrival, Callable[[], None]]]:
        """Defend frames. All flags are published before the first picture is drawn.

        Yields:
            Each frame with what publishes its flag.
        """
        began_ns = time.monotonic_ns()
        accepted: list[Arrival] = []
        flagged: list[tuple[Arrival, CameraResult]] = []
        for arrival in arrivals:
            if reason := self._channels[arrival.camera].refusal(arrival):
                yield arrival, partial(self.fail, arrival, reason)
            else:
                accepted.append(arrival)
        for arrival, result in self._network.process(accepted):
            yield arrival, partial(self._publish, arrival, result, began_ns, flagged)
        for arrival, result in flagged:
            try:
                self._channels[arrival.camera].publish_pictures(arrival, result)
            except Exception as error:
                self.report([arrival.camera], error)

    def fail(self, arrival: Arrival, reason: str) -> None:
        """Flag a frame that never came out of the network."""
        self._channels[arrival.camera].fail(arrival, reason)

    def _publish(
        self, arrival: Arrival, result: CameraResult, began_ns: int, flagged: list[tuple[Arrival, CameraResult]]
    ) -> None:
        """Flag a frame, and only then let it have pictures: one that was stuck has been flagged unknown meanwhile."""
        self._channels[arrival.camera].publish_result(arrival, result, began_ns)
        flagged.append((arrival, result))


def report_error(node: Node, channels: Mapping[str, CameraChannel], cameras: Sequence[str], error: Exception) -> None:
    """Report an unexpected exception, and where it was raised, in the log and in the cameras' diagnostics.

    The log has one line in `LOG_EVERY_S` seconds, since every frame may raise.
    """
    for camera in cameras:
        if camera in channels:
            channels[camera].health.failed(describe_error(error))
    calls = traceback.extract_tb(error.__traceback__)
    where = f" ({calls[-1].filename}:{calls[-1].lineno})" if calls else ""
    node.get_logger().error(f"internal error: {describe_error(error)}{where}", **at_most_every(LOG_EVERY_S))

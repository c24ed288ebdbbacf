"""`defense_node`: images of one or several cameras in; defended segmentations, masks and attack flags out."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from zmask_ros.errors import ZmaskError
from zmask_ros.node.camera_channel import LOG_EVERY_S, CameraChannel
from zmask_ros.node.device_errors import described
from zmask_ros.node.diagnostic_tasks import tasks
from zmask_ros.node.diagnostics.publisher import DiagnosticsPublisher
from zmask_ros.node.lifecycle import ACTIVE, ManagedNode
from zmask_ros.node.mailbox import Arrival, Mailbox
from zmask_ros.node.network_host import Network, NetworkSettings
from zmask_ros.node.parameters.cameras import read_cameras
from zmask_ros.node.parameters.defense import DefenseParameters
from zmask_ros.node.parameters.spec import declare, unread
from zmask_ros.node.worker import Worker

if TYPE_CHECKING:
    from zmask_ros.runtime.camera import CameraResult

SHUTDOWN_S = 1.0
ACKNOWLEDGED_S = 0.3
WATCH_EVERY_S = 0.2
RELOAD_WAIT_S = 3.0
LIVE = ("threshold", "masking_threshold", "attack_on_frames", "attack_off_frames")


class DefenseNode:
    """Callbacks only put frames into a mailbox; one thread takes them from there to the topics."""

    def __init__(self) -> None:
        self._managed = ManagedNode("defense_node", self)
        self.node: Node = self._managed
        self._parameters = declare(self.node, DefenseParameters)
        self._cameras = read_cameras(self.node, self._parameters)
        if ignored := unread(self.node):
            self.node.get_logger().warning(f"has no parameter {', '.join(ignored)}: what was given for it is ignored")
        self._live: dict[str, Any] = {name: getattr(self._parameters, name) for name in LIVE}
        self._network: Network | None = None
        self._channels: dict[str, CameraChannel] = {}
        self._worker: Worker | None = None
        self._mailbox = Mailbox()
        self._enabled = True
        self.node.add_on_set_parameters_callback(_check_finite)
        self.node.add_post_set_parameters_callback(self._parameters_changed)
        self.node.create_service(SetBool, "~/enable", self._enable)
        self.node.create_service(Trigger, "~/reload_profile", self._reload_profile)
        names = [camera.name for camera in self._cameras]
        self._diagnostics = DiagnosticsPublisher(
            self.node,
            self._parameters.hardware_id or " ".join(names),
            self._parameters.diagnostics_period_s,
            lambda: tasks(
                self.node, self._managed.state, names, self._channels, self._network, self._worker, self._parameters
            ),
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.node.create_timer(WATCH_EVERY_S, self._watch, clock=steady)
        self.node.create_timer(self._parameters.diagnostics_period_s, self._summarise, clock=steady)
        if self._parameters.autostart:
            self._managed.start()

    @property
    def finished(self) -> bool:
        """Never: it runs until it is stopped."""
        return False

    def close(self) -> bool:
        """Flag what is left; False if the network does not come back."""
        ended = self._stop()
        for channel in self._channels.values():
            channel.wait_for_flags(ACKNOWLEDGED_S)
        return ended

    # Transitions.

    def configure(self) -> None:
        """Load the network and the profiles, run them once, and announce the topics."""
        parameters = self._parameters
        profiles = {camera.name: camera.profile for camera in self._cameras}
        settings = NetworkSettings(
            parameters.segmenter,
            parameters.device,
            parameters.num_threads,
            profiles,
            parameters.max_batch,
            # Of a frame that is segmented once, there is no undefended segmentation.
            parameters.mode == "streaming" and not parameters.publish_undefended,
            parameters.keyframe_interval_s,
        )
        self._network = Network(settings, self.report, self.reloading)
        for camera in self._cameras:
            channel = self._channels[camera.name] = CameraChannel(self.node, camera, parameters, self._network)
            channel.enable(self._enabled)
        self._apply_live()

    def activate(self) -> None:
        """Receive frames and defend them."""
        if self._worker is not None and self._worker.alive:
            raise ZmaskError("The network is still stuck in a frame from before: restart the node.")
        assert self._network is not None
        self._mailbox = Mailbox()
        self._worker = Worker(self._mailbox, self)
        self._worker.start()
        for channel in self._channels.values():
            channel.open(self._mailbox.put)
        self.node.get_logger().info(
            f"defends {', '.join(channel.topic for channel in self._channels.values())} with "
            f"{self._network.segmenter.name} on {self._network.segmenter.device}, "
            + ", ".join(f"threshold {self._network.defended(name).threshold:.6g}" for name in self._channels)
        )

    def deactivate(self) -> None:
        """Receive nothing any more; the network stays where it is."""
        if not self._stop():
            self.node.get_logger().error("the network does not come back from a frame")

    def cleanup(self) -> None:
        """Take the topics away and free the memory of the network."""
        self._stop()
        for channel in self._channels.values():
            channel.destroy()
        self._channels.clear()
        if self._network is not None:
            self._network.release()
        self._network = None
        gc.collect()

    def _stop(self) -> bool:
        for channel in self._channels.values():
            channel.close()
        ended = self._worker is None or self._worker.stop(SHUTDOWN_S)
        if ended:
            self._worker = None
        for channel in self._channels.values():
            channel.rest()
        return ended

    # Callbacks of the executor.

    def _watch(self) -> None:
        worker = self._worker
        if worker is None or self._managed.state != ACTIVE:
            return
        if trouble := worker.trouble(self._parameters.stuck_after_s):
            for arrival in worker.take_away():
                self.fail(arrival, trouble)
        for channel in self._channels.values():
            channel.look(not worker.works_on(channel.name) and not self._mailbox.holds(channel.name))

    def _summarise(self) -> None:
        for channel in self._channels.values():
            channel.publish_summary()

    def _enable(self, request: Any, response: Any) -> Any:
        self._enabled = request.data
        for channel in self._channels.values():
            channel.enable(self._enabled)
        response.success = True
        response.message = "the defence is on" if self._enabled else "the defence is off: every frame is unknown"
        self.node.get_logger().warning(response.message)
        return response

    def _reload_profile(self, _request: Any, response: Any) -> Any:
        try:
            response.message = self._reload()
            response.success = True
            self.node.get_logger().info(response.message)
        except Exception as error:
            response.message = str(error) if isinstance(error, ZmaskError) else described(error)
            self.node.get_logger().error(f"the profile is not reloaded: {response.message}")
        return response

    def _reload(self) -> str:
        network = self._network
        if network is None:
            raise ZmaskError("No profile is loaded yet: configure the node first.")
        if self._worker is None:
            network.reload_profiles()
        elif trouble := self._worker.trouble(self._parameters.stuck_after_s):
            raise ZmaskError(f"The network does not run ({trouble}): see the diagnostics.")
        elif not self._worker.while_idle(network.reload_profiles, RELOAD_WAIT_S):
            raise ZmaskError(f"The network did not finish its frame within {RELOAD_WAIT_S:g} s: try again.")
        self._apply_live()
        return "; ".join(f"{name}: {network.profile_identity(name)}" for name in self._channels)

    def _parameters_changed(self, parameters: list[Parameter]) -> None:
        changed = {parameter.name: parameter.value for parameter in parameters if parameter.name in LIVE}
        if changed:
            self._live |= changed
            self._apply_live()
            self.node.get_logger().info(", ".join(f"{name} is now {value:g}" for name, value in changed.items()))

    def _apply_live(self) -> None:
        """Give what can be changed while the node runs to the network and to the cameras."""
        network = self._network
        if network is None:
            return
        from zmask_ros.flags.alarm import alarm_rule

        network.set_thresholds(self._live["threshold"], self._live["masking_threshold"])
        on_frames, off_frames = self._live["attack_on_frames"], self._live["attack_off_frames"]
        for channel in self._channels.values():
            channel.change_alarm(alarm_rule(on_frames, off_frames, network.vote(channel.name)))

    # What the worker does with frames.

    @property
    def batch_limit(self) -> int:
        """How many frames may be worked on together."""
        return self._network.batch_limit if self._network is not None else 1

    def process(self, arrivals: Sequence[Arrival]) -> Iterator[tuple[Arrival, Callable[[], None]]]:
        """Defend them. All flags are published before the first picture is drawn."""
        assert self._network is not None
        began_ns = time.monotonic_ns()
        wanted: list[Arrival] = []
        flagged: list[tuple[Arrival, CameraResult]] = []
        for arrival in arrivals:
            reason = self._channels[arrival.camera].refusal(arrival)
            if reason:
                yield arrival, partial(self.fail, arrival, reason)
            else:
                wanted.append(arrival)
        for arrival, result in self._network.process(wanted):
            yield arrival, partial(self._publish, arrival, result, began_ns, flagged)
        for arrival, result in flagged:
            self._draw(arrival, result)

    def fail(self, arrival: Arrival, reason: str) -> None:
        """Flag a frame that never came out of the network."""
        self._channels[arrival.camera].fail(arrival, reason)

    def reloading(self) -> AbstractContextManager[None]:
        """While the network loads itself anew: that is no frame which takes too long."""
        return self._worker.reloading() if self._worker is not None else nullcontext()

    def report(self, cameras: Sequence[str], error: Exception) -> None:
        """Log an exception that nobody expected, with where it came from, but not thirty times a second."""
        for camera in cameras:
            if camera in self._channels:
                self._channels[camera].health.failed(described(error))
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f" ({place.tb_frame.f_code.co_filename}:{place.tb_lineno})" if place is not None else ""
        self.node.get_logger().error(f"internal error: {described(error)}{where}", throttle_duration_sec=LOG_EVERY_S)

    def _publish(
        self, arrival: Arrival, result: CameraResult, began_ns: int, flagged: list[tuple[Arrival, CameraResult]]
    ) -> None:
        """Flag a frame, and only then let it have pictures: one that was stuck has been flagged unknown meanwhile."""
        self._channels[arrival.camera].publish_result(arrival, result, began_ns)
        flagged.append((arrival, result))

    def _draw(self, arrival: Arrival, result: CameraResult) -> None:
        try:
            self._channels[arrival.camera].publish_pictures(arrival, result)
        except Exception as error:
            self.report([arrival.camera], error)


def _check_finite(parameters: list[Parameter]) -> SetParametersResult:
    """Refuse what no range refuses."""
    for parameter in parameters:
        if isinstance(parameter.value, float) and not math.isfinite(parameter.value):
            return SetParametersResult(successful=False, reason=f"{parameter.name} must be a finite number")
    return SetParametersResult(successful=True)

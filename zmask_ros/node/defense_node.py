"""`defense_node`: images of one or several cameras in; defended segmentations, masks and attack flags out."""

from __future__ import annotations

import gc
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from zmask_ros.errors import ZmaskError
from zmask_ros.flags.alarm import alarm_rule
from zmask_ros.flags.drift import DriftLevels
from zmask_ros.node.camera_channel import CameraChannel
from zmask_ros.node.device_errors import error_sentence
from zmask_ros.node.diagnostic_tasks import diagnostic_tasks
from zmask_ros.node.diagnostics.publisher import DiagnosticsPublisher, Tasks
from zmask_ros.node.frame_handler import FrameHandler, report_error
from zmask_ros.node.image_types import image_type
from zmask_ros.node.lifecycle import ACTIVE, CONFIGURING, ManagedNode
from zmask_ros.node.mailbox import Mailbox
from zmask_ros.node.network_host import NetworkHost
from zmask_ros.node.parameters.cameras import read_cameras
from zmask_ros.node.parameters.defense_node import DefenseParameters
from zmask_ros.node.parameters.spec import declare, take_integers_for_doubles, unknown_parameters
from zmask_ros.node.worker import Worker

# How long a frame in work is waited for before the network is given up, or freed.
DEACTIVATE_S = 1.0
# Of all cameras together.
ACKNOWLEDGED_S = 0.3
WATCH_EVERY_S = 0.2
RELOAD_WAIT_S = 3.0
LIVE = (
    "threshold",
    "masking_threshold",
    "attack_on_frames",
    "attack_off_frames",
    "drift_warning",
    "drift_error",
    "least_verdict_share",
)


class DefenseNode(ManagedNode):
    """Callbacks only put frames into a mailbox; one thread takes them from there to the topics.

    The thread is a `Worker`, what it does with frames is the `FrameHandler`, and what belongs to one camera its
    `CameraChannel`. The node itself makes these and takes them away again, and answers services and parameters.
    """

    finished = False
    """Never: it runs until it is stopped."""

    def __init__(self) -> None:
        super().__init__("defense_node")
        self._settings = declare(self, DefenseParameters)
        self._cameras = read_cameras(self, self._settings)
        if ignored := unknown_parameters(self):
            self.get_logger().warning(f"has no parameter {', '.join(ignored)}: what was given for it is ignored")
        self._live: dict[str, Any] = {name: getattr(self._settings, name) for name in LIVE}
        self._network: NetworkHost | None = None
        self._channels: dict[str, CameraChannel] = {}
        self._worker: Worker | None = None
        self._mailbox = Mailbox()
        self._defending = True
        # What was loaded last, or is being loaded.
        self._loading = "loading"
        self._report = partial(report_error, self, self._channels)
        take_integers_for_doubles(self)
        self.add_on_set_parameters_callback(_check_finite)
        self.add_post_set_parameters_callback(self._parameters_changed)
        self.create_service(SetBool, "~/enable", self._enable)
        # A group of its own: while it waits, callbacks of the same group would.
        group = MutuallyExclusiveCallbackGroup()
        self.create_service(Trigger, "~/reload_profile", self._reload_profile, callback_group=group)
        self._diagnostics = DiagnosticsPublisher(
            self,
            self._settings.hardware_id or " ".join(camera.name for camera in self._cameras),
            self._settings.diagnostics_period_s,
            self._diagnostic_tasks,
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(WATCH_EVERY_S, self._watch, clock=steady)
        self.create_timer(self._settings.diagnostics_period_s, self._publish_summaries, clock=steady)
        if self._settings.autostart:
            self.start()

    def close(self) -> None:
        """Flag what is left; a frame that the network is still in is flagged unknown, and not waited for."""
        self._stop(0.0)
        until_s = time.monotonic() + ACKNOWLEDGED_S
        for channel in self._channels.values():
            channel.wait_for_flags(max(0.0, until_s - time.monotonic()))

    # Transitions.

    def configure(self) -> None:
        """Load the network and the profiles, run them once, and announce the topics."""
        for camera in self._cameras:
            image_type(camera.transport)
        profiles = {camera.name: camera.profile for camera in self._cameras}
        bits = {camera.name: camera.significant_bits for camera in self._cameras}
        say, warn = self._say_loading, self.get_logger().warning
        host = partial(NetworkHost, self._settings, profiles, self._report, self._reloading, bits, say, warn)
        self._network = self.answering(host)
        for camera in self._cameras:
            channel = self._channels[camera.name] = CameraChannel(self, camera, self._settings, self._network)
            channel.enable(self._defending)
        self._apply_live()

    def activate(self) -> None:
        """Receive frames and defend them."""
        if self._worker is not None and self._worker.alive:
            raise ZmaskError("The network is still stuck in a frame from before: restart the node.")
        assert self._network is not None
        self._mailbox = Mailbox()
        self._worker = Worker(self._mailbox, FrameHandler(self._network, self._channels, self._report))
        self._worker.start()
        for channel in self._channels.values():
            channel.open(self._mailbox.put)
        self.get_logger().info(
            f"defends {', '.join(channel.topic for channel in self._channels.values())} with "
            f"{self._network.segmenter.name} on {self._network.segmenter.device} in {self._network.segmenter.engine}, "
            + ", ".join(f"threshold {self._network.defended(name).defense.threshold:.6g}" for name in self._channels)
        )

    def deactivate(self) -> None:
        """Receive nothing any more; the network stays where it is."""
        self.await_aside()
        if not self._stop(DEACTIVATE_S):
            self.get_logger().error("the network does not come back from a frame")

    def cleanup(self) -> None:
        """Take the topics away and free the memory of the network."""
        self.await_aside()
        self._stop(DEACTIVATE_S)
        for channel in self._channels.values():
            channel.destroy()
        self._channels.clear()
        if self._network is not None:
            self._network.release()
        self._network = None
        gc.collect()

    def _stop(self, patience_s: float) -> bool:
        for channel in self._channels.values():
            channel.close()
        ended = self._worker is None or self._worker.stop(patience_s)
        if ended:
            self._worker = None
        for channel in self._channels.values():
            channel.reset_alarm()
        return ended

    # Callbacks of the executor.

    def _watch(self) -> None:
        worker = self._worker
        if worker is None or self.state != ACTIVE:
            return
        if trouble := worker.trouble(self._settings.stuck_after_s):
            for arrival in worker.take_away():
                self._channels[arrival.camera].fail(arrival, trouble)
        for channel in self._channels.values():
            channel.check_timeouts(not worker.works_on(channel.name) and not self._mailbox.holds(channel.name))

    def _publish_summaries(self) -> None:
        for channel in self._channels.values():
            channel.publish_summary()

    def _diagnostic_tasks(self) -> Tasks:
        names = [camera.name for camera in self._cameras]
        settings = replace(self._settings, **self._live)
        state = f"{self.state}, {self._loading}" if self.state == CONFIGURING else self.state
        return diagnostic_tasks(self, state, names, self._channels, self._network, self._worker, settings)

    def _enable(self, request: Any, response: Any) -> Any:
        self._defending = request.data
        for channel in self._channels.values():
            channel.enable(self._defending)
        response.success = True
        response.message = "the defence is on" if self._defending else "the defence is off: every frame is unknown"
        # Two places: rclpy refuses a severity that changes from one call of a line to the next.
        if self._defending:
            self.get_logger().info(response.message)
        else:
            self.get_logger().warning(response.message)
        return response

    async def _reload_profile(self, _request: Any, response: Any) -> Any:
        try:
            response.message = await self._reload()
            response.success = True
            self.get_logger().info(response.message)
        except Exception as error:
            response.message = error_sentence(error)
            self.get_logger().error(f"the profile is not reloaded: {response.message}")
        return response

    async def _reload(self) -> str:
        """Read the profiles again while frames go on to come in; what they are now."""
        network, worker = self._network, self._worker
        if self.state == CONFIGURING:
            raise ZmaskError("The profiles are being loaded already: try again when the node is active.")
        if network is None:
            raise ZmaskError("No profile is loaded yet: configure the node first.")
        if worker is None:
            network.reload_profiles()
        elif trouble := worker.trouble(self._settings.stuck_after_s):
            raise ZmaskError(f"The network does not run ({trouble}): see the diagnostics.")
        elif not await self.aside(partial(worker.while_idle, network.reload_profiles, RELOAD_WAIT_S)):
            raise ZmaskError(f"The network did not finish its frame within {RELOAD_WAIT_S:g} s: try again.")
        self._apply_live()
        return "; ".join(f"{name}: {network.profile_identity(name)}" for name in self._channels)

    def _parameters_changed(self, parameters: list[Parameter]) -> None:
        changed = {parameter.name: parameter.value for parameter in parameters if parameter.name in LIVE}
        if changed:
            self._live |= changed
            self._apply_live()
            self.get_logger().info(", ".join(f"{name} is now {value:g}" for name, value in changed.items()))

    def _apply_live(self) -> None:
        """Give what can be changed while the node runs to the network and to the cameras."""
        network = self._network
        if network is None:
            return
        network.set_thresholds(self._live["threshold"], self._live["masking_threshold"])
        on_frames, off_frames = self._live["attack_on_frames"], self._live["attack_off_frames"]
        levels = DriftLevels(self._live["drift_warning"], self._live["drift_error"])
        for channel in self._channels.values():
            channel.drift_levels = levels
            vote = network.defended(channel.name).defense.profile.vote
            channel.change_alarm(alarm_rule(on_frames, off_frames, vote))

    # Called by the network, in the thread that loads it or in the worker's.

    def _say_loading(self, what: str) -> None:
        self._loading = what
        self.get_logger().info(what)

    def _reloading(self) -> AbstractContextManager[None]:
        """Tell the worker that the network is loaded again: that is no frame which takes too long."""
        return self._worker.reloading() if self._worker is not None else nullcontext()


def _check_finite(parameters: list[Parameter]) -> SetParametersResult:
    """Refuse what no range refuses."""
    wrong = [one.name for one in parameters if isinstance(one.value, float) and not math.isfinite(one.value)]
    return SetParametersResult(successful=not wrong, reason=f"{wrong[0]} must be a finite number" if wrong else "")

"""One camera in the node: its subscriptions, its publishers, and everything that is remembered about it."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rclpy.event_handler import QoSMessageLostInfo, QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import qos_policy_name_from_kind
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from zmask_ros.flags.flag import STATE_CODES, FlagContext, FrameCounts
from zmask_ros.msg import AttackFlag, AttackSummary
from zmask_ros.node.diagnostics.health import CameraHealth
from zmask_ros.node.mailbox import Arrival, StampWatch
from zmask_ros.node.messages import flag_message
from zmask_ros.node.parameters.cameras import CameraSettings
from zmask_ros.node.parameters.defense_node import DefenseParameters
from zmask_ros.node.publishers import CameraPublishers
from zmask_ros.node.qos import CAMERA_INFO_IN, IMAGE_IN, create_subscription

if TYPE_CHECKING:
    from zmask_ros.flags.alarm import AlarmRule
    from zmask_ros.node.network_host import NetworkHost
    from zmask_ros.runtime.camera import CameraResult

DROPPED = "dropped: a newer frame came before this one was processed"
DISABLED = "disabled: the service ~/enable has turned the defence off"
UNKNOWN = "UNKNOWN"
LOG_EVERY_S = 5.0

Deliver = Callable[[Arrival], "Arrival | None"]


class CameraChannel:
    """A camera from its first message to its last flag. Nothing of it is shared with another camera.

    Args:
        node: whose topics they are.
        settings: which camera.
        parameters: of the node.
        network: already loaded.
    """

    def __init__(
        self, node: Node, settings: CameraSettings, parameters: DefenseParameters, network: NetworkHost
    ) -> None:
        from zmask_ros.flags.alarm import AlarmRule

        self.name = settings.name
        self.topic = node.resolve_topic_name(settings.subscribed_topic)
        self.health = CameraHealth()
        self._enabled = True
        self._node = node
        self._settings = settings
        self._parameters = parameters
        self._network = network
        self._rule = AlarmRule()
        # Flags leave in the order of their counts.
        self._lock = threading.Lock()
        self._outputs = CameraPublishers(
            node, settings.prefix, network.segmenter.palette, parameters.publish_undefended
        )
        self._outputs.publish_label_info(network.segmenter.classes)
        self._subscriptions: list[Any] = []
        self._begin()

    def _begin(self) -> None:
        from zmask_ros.flags.alarm import Alarm

        self._alarm = Alarm(self._rule, self._parameters.timeout_s)
        self._verdict_ns = 0
        self._counts = FrameCounts()
        self._stamps = StampWatch()
        self._camera_info: CameraInfo | None = None
        self._last_flag = AttackFlag()
        self._frame_id = ""
        self._silent_since_ns: int | None = None

    # From transitions.

    def open(self, deliver: Deliver) -> None:
        """Receive frames, from now on and with all counts at zero.

        Args:
            deliver: takes an arrival; what it returns will not be processed.
        """
        self._begin()
        self._deliver = deliver
        compressed = self._settings.compressed
        events = SubscriptionEventCallbacks(incompatible_qos=self._qos_is_incompatible, message_lost=self._message_lost)
        self._subscriptions = [
            create_subscription(
                self._node,
                CompressedImage if compressed else Image,
                self._settings.subscribed_topic,
                self._image_arrived,
                IMAGE_IN,
                event_callbacks=events,
            ),
            create_subscription(
                self._node, CameraInfo, self._settings.camera_info_topic, self._camera_info_arrived, CAMERA_INFO_IN
            ),
        ]

    def close(self) -> None:
        """Receive nothing any more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def reset_alarm(self) -> None:
        """Nothing is known of the camera any more, and its summary says so."""
        with self._lock:
            self._reset_alarm()

    def destroy(self) -> None:
        """Take everything off the network."""
        self.close()
        self._outputs.destroy()

    def wait_for_flags(self, timeout_s: float) -> None:
        """Until every reliable subscriber has the flags, or the time is over."""
        self._outputs.wait_for_flags(timeout_s)

    def change_alarm(self, rule: AlarmRule) -> None:
        """Raise and end the alarm by another rule."""
        with self._lock:
            self._rule = rule
            self._alarm.change(rule)

    # From the executor.

    @property
    def enabled(self) -> bool:
        """Whether its frames are defended."""
        return self._enabled

    def enable(self, enabled: bool) -> None:
        """Defend its frames, or do not; then nothing is known of the camera from now on."""
        self._enabled = enabled
        if not enabled:
            self.reset_alarm()

    def check_timeouts(self, idle: bool) -> None:
        """Reset an alarm that no verdict has confirmed for too long; flag, once, that no frame has come for too long.

        Args:
            idle: whether none of its frames is waiting or in work.
        """
        long_ago_ns = time.monotonic_ns() - round(self._parameters.timeout_s * 1e9)
        with self._lock:
            if self._verdict_ns < long_ago_ns and self._alarm.state.value != UNKNOWN:
                self._reset_alarm()
        since_ns = self._silent_since_ns
        if not idle or since_ns is None or since_ns > long_ago_ns:
            return
        self._silent_since_ns = None
        now = self._node.get_clock().now()
        header = Header(stamp=now.to_msg(), frame_id=self._frame_id)
        result = self._network.defended(self.name).unknown(f"no frame for {self._parameters.timeout_s:g} s")
        with self._lock:
            self._publish(header, result, 0, 0.0, now.nanoseconds)
        self._note(result, 0.0)

    def _reset_alarm(self) -> None:
        """The alarm is unknown from now on; the lock must be held."""
        self._alarm.reset(self._node.get_clock().now().nanoseconds)
        self._publish_summary()

    def publish_summary(self) -> None:
        """Publish the state of the camera."""
        with self._lock:
            self._publish_summary()

    def _publish_summary(self) -> None:
        summary = AttackSummary(
            header=Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame_id),
            camera=self.name,
            alarm=STATE_CODES[self._alarm.state.value],
            # A camera may send a stamp before all time.
            since=Time(nanoseconds=max(0, self._alarm.since_ns)).to_msg(),
            alarms=self._alarm.raised,
            last=self._last_flag,
        )
        self._outputs.publish_summary(summary)

    def _image_arrived(self, message: Image | CompressedImage) -> None:
        self.health.arrived()
        with self._lock:
            self._counts.received += 1
            arrival = Arrival(message, self.name, self._counts.received)
        self._frame_id = message.header.frame_id
        self._silent_since_ns = arrival.arrived_ns
        if not self._enabled:
            self.fail(arrival, DISABLED)
            return
        displaced = self._deliver(arrival)
        if displaced is not None:
            self._drop(displaced)

    def _drop(self, arrival: Arrival) -> None:
        self.health.dropped()
        self._flag_frame(arrival, self._network.defended(self.name).unknown(DROPPED), "dropped")

    def _camera_info_arrived(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _message_lost(self, event: QoSMessageLostInfo) -> None:
        self.health.lost(event.total_count_change)

    def _qos_is_incompatible(self, event: QoSRequestedIncompatibleQoSInfo) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self.health.qos_is_incompatible(policy)
        self._node.get_logger().warning(
            f"a publisher of {self.topic} cannot be received: its {policy} is incompatible; "
            f"see the parameters qos_overrides.{self.topic}.subscription.*"
        )

    # From the worker.

    def refusal(self, arrival: Arrival) -> str:
        """Why this frame is not worth the work, or nothing; notices when time jumps back."""
        if self._stamps.jumped_back(arrival.stamp_ns):
            self.health.reset()
            with self._lock:
                self._alarm.reset(arrival.stamp_ns)
            self._node.get_logger().info(f"{self.name}: time jumped back: starting anew")
        limit_s = self._parameters.max_age_s
        # A stamp of the future has a negative age: such a frame is not old.
        age_s = (self._node.get_clock().now().nanoseconds - arrival.stamp_ns) / 1e9 if limit_s else 0.0
        return f"too old: taken {age_s:.3f} s ago, and max_age_s is {limit_s:g}" if age_s > limit_s else ""

    def publish_result(self, arrival: Arrival, result: CameraResult, began_ns: int) -> None:
        """Publish the flag of a frame whose work began at ``began_ns`` on the steady clock."""
        waited = {"wait": (began_ns - arrival.arrived_ns) / 1e6}
        timed = replace(result, stages_ms={**waited, **result.stages_ms})
        self._flag_frame(arrival, timed, "failed" if result.pictures is None else "processed")

    def publish_pictures(self, arrival: Arrival, result: CameraResult) -> None:
        """Publish of a frame what is subscribed to."""
        self._outputs.publish_pictures(arrival.message.header, result, copy.copy(self._camera_info))

    def fail(self, arrival: Arrival, reason: str) -> None:
        """Flag a frame that did not come out of the network."""
        self._flag_frame(arrival, self._network.defended(self.name).unknown(reason), "failed")

    def _flag_frame(self, arrival: Arrival, result: CameraResult, count: str) -> None:
        """Flag a frame and count it as processed, dropped or failed."""
        with self._lock:
            setattr(self._counts, count, getattr(self._counts, count) + 1)
            self._publish(arrival.message.header, result, arrival.sequence, arrival.latency_ms, arrival.stamp_ns)
        self._silent_since_ns = time.monotonic_ns()
        self._note(result, arrival.latency_ms)

    def _publish(self, header: Header, result: CameraResult, sequence: int, latency_ms: float, stamp_ns: int) -> None:
        """Publish a flag; the lock must be held."""
        before = self._last_flag.alarm
        # A frame that was in work as the defense was turned off says nothing of the time after that.
        alarm = self._alarm.add(result.state, stamp_ns) if self._enabled else self._alarm.state
        if result.state.value != UNKNOWN:
            self._verdict_ns = time.monotonic_ns()
        counts, profile = self._counts, self._network.profile_identity(self.name)
        context = FlagContext(self.name, alarm.value, profile, sequence, latency_ms, counts)
        self._last_flag = flag_message(header, result, context)
        self._outputs.publish_flag(self._last_flag)
        if self._last_flag.alarm != before:
            self._publish_summary()

    def _note(self, result: CameraResult, latency_ms: float) -> None:
        processed = result.pictures is not None
        self.health.flagged(
            result.state.value,
            result.reason,
            result.score,
            result.threshold,
            latency_ms if processed else None,
            result.stages_ms,
            result.tracked,
            result.analysed,
        )
        if not processed:
            self._node.get_logger().warning(
                f"{self.name}: frame not defended: {result.reason}", throttle_duration_sec=LOG_EVERY_S
            )

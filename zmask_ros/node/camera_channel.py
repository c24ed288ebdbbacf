"""One camera in the node: its subscriptions, its publishers, and everything that is remembered about it."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rclpy.event_handler import QoSMessageLostInfo, QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import qos_policy_name_from_kind
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from zmask_ros.errors import ZmaskError
from zmask_ros.flags.alarm import AlarmRule
from zmask_ros.flags.camera_flags import CameraFlags
from zmask_ros.flags.drift import Drift, DriftLevels
from zmask_ros.flags.flag import Flag, FrameState
from zmask_ros.io.images.video_stream.decoder import Decoded, VideoStream
from zmask_ros.io.images.video_stream.messages import VideoPicture, holds_video, video_packet
from zmask_ros.msg import AttackFlag, AttackSummary
from zmask_ros.node.diagnostics.health import CameraHealth
from zmask_ros.node.image_types import VIDEO_TRANSPORTS, image_type
from zmask_ros.node.mailbox import Arrival
from zmask_ros.node.messages import flag_message
from zmask_ros.node.parameters.cameras import CameraSettings
from zmask_ros.node.parameters.defense_node import DefenseParameters
from zmask_ros.node.publishers import CameraPublishers
from zmask_ros.node.qos import CAMERA_INFO_IN, IMAGE_IN, VIDEO_IN, create_subscription
from zmask_ros.node.throttle import at_most_every

if TYPE_CHECKING:
    from zmask_ros.node.network_host import NetworkHost
    from zmask_ros.runtime.camera import CameraResult

DROPPED = "dropped: a newer frame came before this one was processed"
DISABLED = "disabled: the service ~/enable has turned the defence off"
NO_FRAME = "no frame yet"
LOG_EVERY_S = 5.0

Deliver = Callable[[Arrival], "Arrival | None"]


class CameraChannel:
    """A camera from its first message to its last flag. Nothing of it is shared with another camera.

    Args:
        node: creates the subscriptions and publishers.
        settings: of this camera.
        parameters: of the node.
        network: already loaded.

    Attributes:
        name: of the camera.
        topic: full name of where its images come from.
        health: what has happened to its frames, for the diagnostics.
        enabled: whether its frames are defended; set by `enable`.
        drift: how far the camera is from its profile.
        drift_levels: distances above which the profile does not fit.
    """

    def __init__(
        self, node: Node, settings: CameraSettings, parameters: DefenseParameters, network: NetworkHost
    ) -> None:
        self.name = settings.name
        self.topic = node.resolve_topic_name(settings.subscribed_topic)
        self.health = CameraHealth()
        self.enabled = True
        self.drift = Drift(reason=NO_FRAME)
        self.drift_levels = DriftLevels()
        self._node = node
        # One of its own: a logger throttles by the line of code, and one camera's lines would hide another's.
        self._logger = node.get_logger().get_child(self.name)
        self._settings = settings
        self._parameters = parameters
        self._network = network
        self._rule = AlarmRule()
        # Held while a flag or a summary is made and published, so that flags leave in the order of their counts.
        self._lock = threading.RLock()
        self._outputs = CameraPublishers(
            node, settings.prefix, network.segmenter.palette, parameters.publish_undefended
        )
        self._outputs.publish_label_info(network.segmenter.classes)
        self._subscriptions: list[Any] = []
        self._begin()

    def _begin(self) -> None:
        # Decodes in the executor, where every packet comes by: the mailbox lets frames fall.
        is_video = self._settings.transport in VIDEO_TRANSPORTS
        self._video: VideoStream[Arrival] | None = VideoStream(low_delay=True) if is_video else None
        self._flags = CameraFlags(self.name, self._rule, self._parameters.timeout_s)
        self._verdict_ns = 0
        self._camera_info: CameraInfo | None = None
        self._last_flag = AttackFlag()
        self._frame_id = ""
        self._silent_since_ns: int | None = None

    # From transitions.

    def open(self, deliver: Deliver) -> None:
        """Receive frames, from now on and with all counts at zero.

        Args:
            deliver: takes an arrival; returns the arrival that will not be processed because of it, if there is one.
        """
        self._begin()
        self._deliver = deliver
        kind, topic = image_type(self._settings.transport), self._settings.subscribed_topic
        info_topic = self._settings.camera_info_topic
        arrived, qos = (self._image_arrived, IMAGE_IN) if self._video is None else (self._packet_arrived, VIDEO_IN)
        self._subscriptions = [
            create_subscription(self._node, CameraInfo, info_topic, self._camera_info_arrived, CAMERA_INFO_IN),
            create_subscription(self._node, kind, topic, arrived, qos, event_callbacks=self._events()),
        ]

    def close(self) -> None:
        """Receive nothing any more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        if self._video is not None:
            self._take_pictures(self._video, self._video.finish())

    def reset_alarm(self) -> None:
        """Set the alarm to unknown and publish that."""
        with self._lock:
            self._flags.alarm.reset(self._node.get_clock().now().nanoseconds)
            self.publish_summary()

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
            self._flags.alarm.change(rule)

    # From the executor.

    def enable(self, enabled: bool) -> None:
        """Defend its frames, or flag them as unknown from now on."""
        self.enabled = enabled
        if not enabled:
            self.reset_alarm()

    def check_timeouts(self, idle: bool) -> None:
        """Reset an alarm that no verdict has confirmed for too long; flag, once, that no frame has come for too long.

        Args:
            idle: whether none of its frames is waiting or in work.
        """
        long_ago_ns = time.monotonic_ns() - round(self._parameters.timeout_s * 1e9)
        with self._lock:
            if self._verdict_ns < long_ago_ns and self._flags.alarm.state is not FrameState.UNKNOWN:
                self.reset_alarm()
        since_ns = self._silent_since_ns
        if not idle or since_ns is None or since_ns > long_ago_ns:
            return
        self._silent_since_ns = None
        result = self._unknown(f"no frame for {self._parameters.timeout_s:g} s")
        with self._lock:
            flag = self._flags.silence(result, self._profile)
            self._publish(self._header_now(), flag, result)
        self._log(flag)

    def publish_summary(self) -> None:
        """Publish the state of the camera."""
        with self._lock:
            alarm = self._flags.alarm
            summary = AttackSummary(
                header=self._header_now(),
                camera=self.name,
                alarm=alarm.state,
                # A stamp may be negative, but not in a message.
                since=Time(nanoseconds=max(0, alarm.since_ns)).to_msg(),
                alarms=alarm.raised,
                profile_fit=self.drift.level(self.drift_levels),
                profile_distance=self.drift.distance,
                verdict_share=self.health.verdict_share,
                last=self._last_flag,
            )
            self._outputs.publish_summary(summary)

    def _header_now(self) -> Header:
        """A header of this moment, for what is about no frame."""
        return Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame_id)

    def _image_arrived(self, message: Any) -> None:
        if self._settings.transport == "compressed" and holds_video(message):
            self._video_arrived(message)
            return
        self.health.arrived()
        if self._video is not None:
            self._take_pictures(self._video, self._video.finish())
        self._take(Arrival(message, self.name))

    def _video_arrived(self, message: CompressedImage) -> None:
        """A packet of a video where there might have been a picture: from the first one on, none may fall."""
        if self._video is None:
            try:
                self._video = VideoStream(low_delay=True)
            except ZmaskError as error:
                self.health.arrived()
                self._take(Arrival(message, self.name), str(error))
                return
            self._keep_packets()
        self._packet_arrived(message)

    def _keep_packets(self) -> None:
        """Subscribe anew, and keep as many messages as are kept of video."""
        images = self._subscriptions.pop()
        # As it was overridden: a second subscription of the topic takes what was declared for the first one.
        qos = copy.copy(images.qos_profile)
        qos.depth = max(qos.depth, VIDEO_IN.depth)
        self._node.destroy_subscription(images)
        topic, arrived = self._settings.subscribed_topic, self._image_arrived
        self._subscriptions.append(
            self._node.create_subscription(CompressedImage, topic, arrived, qos, event_callbacks=self._events())
        )
        self._node.get_logger().info(f"{self.topic} is video: the last {qos.depth} messages are kept for it")

    def _events(self) -> SubscriptionEventCallbacks:
        return SubscriptionEventCallbacks(incompatible_qos=self._qos_is_incompatible, message_lost=self._message_lost)

    def _packet_arrived(self, message: Any) -> None:
        """A message of a video: what it makes known may be the pictures of others, or nothing yet."""
        self.health.arrived()
        assert self._video is not None
        has_header = hasattr(message, "header")
        header = message.header if has_header else Header(stamp=message.timestamp, frame_id=message.frame_id)
        arrival = Arrival(VideoPicture(header, None), self.name)
        self._take_pictures(self._video, self._video.push(arrival, video_packet(message, header)))

    def _take_pictures(self, video: VideoStream[Arrival], decoded: Iterable[Decoded[Arrival]]) -> None:
        for one in decoded:
            image = None if one.frame is None else video.to_rgb(one.frame)
            picture = replace(one.source.message, image=image, reason=one.reason)
            self._take(replace(one.source, message=picture), picture.why_missing)

    def _take(self, arrival: Arrival, why_not: str = "") -> None:
        """A frame, from here on: it gets its number, and its flag, at once where there is a reason why it has none."""
        with self._lock:
            arrival = replace(arrival, sequence=self._flags.received())
        self._frame_id = arrival.message.header.frame_id
        self._silent_since_ns = arrival.arrived_ns
        if why_not or not self.enabled:
            self.fail(arrival, why_not if self.enabled else DISABLED)
        elif (displaced := self._deliver(arrival)) is not None:
            self.health.lost(dropped=1)
            self._flag_frame(displaced, self._unknown(DROPPED), dropped=True)

    def _camera_info_arrived(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _message_lost(self, event: QoSMessageLostInfo) -> None:
        self.health.lost(in_transport=event.total_count_change)
        if self._video is not None:
            self._video.lose("a message of it was lost in transport")

    def _qos_is_incompatible(self, event: QoSRequestedIncompatibleQoSInfo) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self.health.qos_is_incompatible(policy)
        self._node.get_logger().warning(
            f"a publisher of {self.topic} cannot be received: its {policy} is incompatible; "
            f"see the parameters qos_overrides.{self.topic}.subscription.*"
        )

    # From the worker.

    def refusal(self, arrival: Arrival) -> str:
        """Why this frame is not worth the work, or an empty string; a stamp before the last one resets the alarm."""
        with self._lock:
            jumped_back = self._flags.jumped_back(arrival.stamp_ns)
        if jumped_back:
            self.health.reset()
            self._node.get_logger().info(f"{self.name}: time jumped back: starting anew")
        limit_s = self._parameters.max_age_s
        # A stamp of the future has a negative age: such a frame is not old.
        age_s = (self._node.get_clock().now().nanoseconds - arrival.stamp_ns) / 1e9 if limit_s else 0.0
        return f"too old: taken {age_s:.3f} s ago, and max_age_s is {limit_s:g}" if age_s > limit_s else ""

    def publish_result(self, arrival: Arrival, result: CameraResult, began_ns: int) -> None:
        """Publish the flag of a frame whose work began at ``began_ns`` on the steady clock."""
        if result.drift is not None:
            self.drift = result.drift
        self._flag_frame(arrival, result.after_waiting((began_ns - arrival.arrived_ns) / 1e6))

    def publish_pictures(self, arrival: Arrival, result: CameraResult) -> None:
        """Publish of a frame what is subscribed to."""
        self._outputs.publish_pictures(arrival.message.header, result, copy.copy(self._camera_info))

    def fail(self, arrival: Arrival, reason: str) -> None:
        """Flag a frame as unknown for this reason."""
        self._flag_frame(arrival, self._unknown(reason))

    def _unknown(self, reason: str) -> CameraResult:
        return self._network.defended(self.name).unknown(reason)

    @property
    def _profile(self) -> str:
        return self._network.profile_identity(self.name)

    def _flag_frame(self, arrival: Arrival, result: CameraResult, dropped: bool = False) -> None:
        """Count a frame and publish its flag, in one go: flags leave in the order of their counts."""
        with self._lock:
            flag = self._flags.flag(
                result,
                self._profile,
                arrival.sequence,
                arrival.stamp_ns,
                arrival.latency_ms,
                dropped=dropped,
                # A frame that was in work as the defense was turned off says nothing of the time after that.
                heeded=self.enabled,
            )
            if flag.state is not FrameState.UNKNOWN:
                self._verdict_ns = time.monotonic_ns()
            self._publish(arrival.message.header, flag, result)
        self._silent_since_ns = time.monotonic_ns()
        self._log(flag)

    def _publish(self, header: Header, flag: Flag, result: CameraResult) -> None:
        """Count a flag for the diagnostics and publish it; the lock must be held."""
        self.health.flagged(flag, result.tracked, result.analyzed)
        before = self._last_flag.alarm
        self._last_flag = flag_message(header, flag)
        self._outputs.publish_flag(self._last_flag)
        if flag.alarm != before:
            self.publish_summary()

    def _log(self, flag: Flag) -> None:
        """Say why a frame is unknown, or what limits its verdict."""
        if flag.state is FrameState.UNKNOWN:
            self._logger.warning(f"{self.name}: frame not defended: {flag.reason}", **at_most_every(LOG_EVERY_S))
        elif flag.remark:
            self._logger.warning(f"{self.name}: {flag.remark}", **at_most_every(LOG_EVERY_S))

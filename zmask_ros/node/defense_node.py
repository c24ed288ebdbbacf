"""`defense_node`: a camera's images in; the defended segmentation, the mask and the attack flag out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

from rclpy.event_handler import QoSMessageLostInfo, QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_policy_name_from_kind
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from zmask_ros.node.defense_parameters import DefenseParameters
from zmask_ros.node.diagnostics import CameraHealth, assess_attack, assess_inference, assess_input
from zmask_ros.node.diagnostics_publisher import DiagnosticsPublisher, Tasks
from zmask_ros.node.inputs import Arrival, LatestSlot, StampWatch
from zmask_ros.node.loading import assess_device, assess_profile, load_camera, set_threshold
from zmask_ros.node.messages import flag_message
from zmask_ros.node.parameters import declare
from zmask_ros.node.publishers import Outputs, publish_label_info
from zmask_ros.node.qos import CAMERA_INFO_IN, IMAGE_IN, overridable
from zmask_ros.node.worker import Worker

if TYPE_CHECKING:
    from zmask_ros.camera import CameraResult

DROPPED = "dropped: a newer frame came before this one was processed"
SHUTDOWN_S = 1.0
ACKNOWLEDGED_S = 0.3
LOG_EVERY_S = 5.0


class DefenseNode:
    """Callbacks only put the frame into a slot; one thread takes it from there to the topics."""

    def __init__(self) -> None:
        self.node = Node("defense_node")
        self._parameters = declare(self.node, DefenseParameters)
        self._camera = load_camera(self._parameters)
        self._health = CameraHealth()
        self._stamps = StampWatch()
        self._camera_info: CameraInfo | None = None
        self._outputs = Outputs(self.node, self._camera.segmenter.palette, self._parameters.publish_undefended)
        self._label_info = publish_label_info(self.node, self._camera.segmenter.classes)
        self._slot = LatestSlot()
        self._worker = Worker(self._slot, self)
        self.node.add_post_set_parameters_callback(self._parameters_changed)
        self._subscribe()
        self._diagnose()
        self._worker.start()
        self.node.get_logger().info(
            f"defends {self._images.topic_name} with {self._camera.segmenter.name} on {self._camera.segmenter.device}, "
            f"threshold {self._camera.threshold:.6g}"
        )

    @property
    def finished(self) -> bool:
        """Never: it runs until it is stopped."""
        return False

    def close(self) -> bool:
        """Flag what is left; False if the network does not come back."""
        ended = self._worker.stop(SHUTDOWN_S)
        self._outputs.wait_for_flags(ACKNOWLEDGED_S)
        return ended

    def _subscribe(self) -> None:
        compressed = self._parameters.image_transport == "compressed"
        self._images = self.node.create_subscription(
            CompressedImage if compressed else Image,
            "image_raw/compressed" if compressed else "image_raw",
            self._image_arrived,
            IMAGE_IN,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=self._qos_is_incompatible, message_lost=self._message_lost
            ),
            qos_overriding_options=overridable(),
        )
        self._camera_infos = self.node.create_subscription(
            CameraInfo, "camera_info", self._camera_info_arrived, CAMERA_INFO_IN, qos_overriding_options=overridable()
        )

    def _diagnose(self) -> None:
        self._camera_name = self._parameters.camera_name or self.node.get_namespace().strip("/") or "camera"
        self._diagnostics = DiagnosticsPublisher(
            self.node,
            self._parameters.hardware_id or self._camera_name,
            self._parameters.diagnostics_period_s,
            self._tasks,
        )

    # Callbacks of the executor.

    def _image_arrived(self, message: Image | CompressedImage) -> None:
        self._health.arrived()
        displaced = self._slot.put(Arrival(message))
        if displaced is not None:
            self._health.dropped()
            self.fail(displaced, DROPPED)

    def _camera_info_arrived(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _message_lost(self, event: QoSMessageLostInfo) -> None:
        self._health.lost(event.total_count_change)

    def _qos_is_incompatible(self, event: QoSRequestedIncompatibleQoSInfo) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self._health.qos_is_incompatible(policy)
        self.node.get_logger().warning(
            f"a publisher of {self._images.topic_name} cannot be received: its {policy} is incompatible; "
            f"see the parameters qos_overrides.{self._images.topic_name}.subscription.*"
        )

    def _parameters_changed(self, parameters: list[Parameter]) -> None:
        for parameter in parameters:
            if parameter.name == "threshold":
                set_threshold(self._camera, parameter.value)
                self.node.get_logger().info(f"threshold is now {self._camera.threshold:.6g}")

    def _tasks(self) -> Tasks:
        now = self._health.snapshot()
        camera, topic, stale_after_s = self._camera_name, self._images.topic_name, self._parameters.stale_after_s
        return {
            f"{camera} input": lambda: assess_input(
                camera, topic, self.node.count_publishers(topic), stale_after_s, now
            ),
            f"{camera} inference": lambda: assess_inference(camera, str(self._camera.segmenter.device), now),
            f"{camera} attack": lambda: assess_attack(camera, now),
            "device": lambda: assess_device(self._camera),
            "profile": lambda: assess_profile(self._camera),
        }

    # What the worker does with a frame.

    def process(self, arrival: Arrival) -> Callable[[], None]:
        """Defend it; what is returned publishes the flag and then the pictures."""
        if self._stamps.jumped_back(arrival.stamp_ns):
            self._health.reset()
            self.node.get_logger().info("time jumped back: starting anew")
        result = self._camera.process(arrival.message)
        return lambda: self._publish(arrival, result)

    def fail(self, arrival: Arrival, reason: str) -> None:
        """Flag a frame that never came out of the network."""
        self._publish_flag(arrival, self._camera.unknown(reason), processed=False)

    def report(self, error: Exception) -> None:
        """Log an exception that nobody expected, with where it came from, but not thirty times a second."""
        self._health.failed()
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f" ({place.tb_frame.f_code.co_filename}:{place.tb_lineno})" if place is not None else ""
        self.node.get_logger().error(
            f"internal error: {type(error).__name__}: {error}{where}", throttle_duration_sec=LOG_EVERY_S
        )

    def _publish(self, arrival: Arrival, result: CameraResult) -> None:
        self._publish_flag(arrival, result, processed=result.pictures is not None)
        self._outputs.publish_pictures(arrival.message.header, result, copy.copy(self._camera_info))

    def _publish_flag(self, arrival: Arrival, result: CameraResult, processed: bool) -> None:
        flag = flag_message(arrival, result)
        self._outputs.publish_flag(flag)
        state, latency_ms = result.state.value, flag.latency_ms if processed else None
        self._health.flagged(state, result.reason, result.score, result.threshold, latency_ms)
        if state == "UNKNOWN":
            self.node.get_logger().warning(f"frame not defended: {result.reason}", throttle_duration_sec=LOG_EVERY_S)

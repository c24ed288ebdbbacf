"""`street_camera`: a camera driver on a drive through the street world."""

from __future__ import annotations

import json
import time
from pathlib import Path

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from zmask_ros.data.street import StreetDrive, StreetFrame
from zmask_ros.io.images.files import read_picture
from zmask_ros.io.stamps import NANOSECONDS
from zmask_ros.msg import AttackFlag
from zmask_ros.node.messages import camera_info_message, image_message
from zmask_ros.node.parameters.spec import declare
from zmask_ros.node.parameters.street import StreetCameraParameters
from zmask_ros.node.qos import FLAG_OUT, overridable

# How often it looks whether it may send: well below a frame's time.
TICK_S = 0.005
ACKNOWLEDGED_S = 2.0
# As camera drivers do: reliable, so that each subscriber chooses for itself.
CAMERA_OUT = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)


class StreetCamera:
    """Sends one frame after the other; each is drawn while the one before is being looked at."""

    def __init__(self) -> None:
        self.node = Node("street_camera")
        self._parameters = parameters = declare(self.node, StreetCameraParameters)
        self._drive = StreetDrive(
            seed=parameters.seed,
            duration_s=parameters.duration_s,
            rate_hz=parameters.rate_hz,
            width=parameters.width,
            height=parameters.height,
            carrier=None if parameters.carrier == "none" else parameters.carrier,
            picture=read_picture(Path(parameters.picture).expanduser()) if parameters.picture else None,
            picture_from_s=parameters.picture_from_s,
            picture_until_s=parameters.picture_until_s,
        )
        options = {"qos_overriding_options": overridable()}
        self._images = self.node.create_publisher(Image, "image_raw", CAMERA_OUT, **options)
        self._camera_infos = self.node.create_publisher(CameraInfo, "camera_info", CAMERA_OUT, **options)
        self._flags = self.node.create_subscription(AttackFlag, "zmask/attack", self._flag_arrived, FLAG_OUT)
        self._sent = self._received = self._missing = 0
        self._index = 0
        self._next: StreetFrame = self._drive[0]
        self._awaited: tuple[int, int] | None = None
        self._may_send_at = float("inf")
        self._found = False
        self.finished = False
        self.node.create_timer(TICK_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> bool:
        """Wait until the last frame has arrived, and write the summary."""
        self._images.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_S))
        counts = {"frames_sent": self._sent, "flags_received": self._received, "flags_missing": self._missing}
        self.node.get_logger().info(", ".join(f"{name} {count}" for name, count in counts.items()))
        if self._parameters.summary:
            Path(self._parameters.summary).expanduser().write_text(json.dumps(counts) + "\n")
        return True

    def _tick(self) -> None:
        now = time.monotonic()
        if not self._found:
            self._look_for_subscribers(now)
        elif self._awaited is not None:
            if now > self._may_send_at + self._parameters.flag_timeout_s:
                self._missing += 1
                self._awaited = None
                self.node.get_logger().warning(f"no flag for frame {self._sent - 1}")
        elif self._index >= len(self._drive):
            self.finished = True
        elif now >= self._may_send_at:
            self._send(now)

    def _look_for_subscribers(self, now: float) -> None:
        lockstep = self._parameters.pace == "lockstep"
        enough = self._images.get_subscription_count() >= self._parameters.min_subscribers
        if enough and not (lockstep and self.node.count_publishers(self._flags.topic_name) == 0):
            self._found = True
            self._may_send_at = now + self._parameters.settle_s

    def _send(self, now: float) -> None:
        frame = self._next
        seconds, nanoseconds = divmod(frame.stamp_ns, NANOSECONDS)
        header = Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=self._parameters.frame_id)
        self._camera_infos.publish(camera_info_message(header, self._drive.camera))
        if self._parameters.pace == "lockstep":
            self._awaited = (seconds, nanoseconds)
            self._may_send_at = now
        else:
            # From the time that was planned: a late frame does not slow the drive down.
            self._may_send_at = max(self._may_send_at + 1.0 / self._parameters.rate_hz, now)
        self._images.publish(image_message(header, frame.image, "rgb8"))
        self._sent += 1
        self._index += 1
        if self._index >= len(self._drive) and self._parameters.loop:
            self._index = 0
        if self._index < len(self._drive):
            self._next = self._drive[self._index]

    def _flag_arrived(self, message: AttackFlag) -> None:
        # A flag without a frame says that none has come for long.
        self._received += message.sequence > 0
        if self._awaited == (message.header.stamp.sec, message.header.stamp.nanosec):
            self._awaited = None
            self._tick()

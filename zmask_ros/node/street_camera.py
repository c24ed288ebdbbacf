"""`street_camera`: a camera driver on a drive through the street world."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from zmask_ros.data.street import StreetDrive
from zmask_ros.io.images.files import read_picture
from zmask_ros.io.stamps import NANOSECONDS
from zmask_ros.msg import AttackFlag
from zmask_ros.node.messages import camera_info_message, image_message
from zmask_ros.node.parameters.spec import declare
from zmask_ros.node.parameters.street_camera import StreetCameraParameters
from zmask_ros.node.qos import CAMERA_OUT, FLAG_OUT, create_publisher

# How often to see whether the next frame may be sent: well below a frame's time. In lockstep its flag says so.
TICK_S, LOCKSTEP_TICK_S = 0.005, 0.05
ACKNOWLEDGED_S = 2.0


@dataclass(frozen=True)
class _Shot:
    """What is sent of a frame: uint8 [H, W, 3] RGB, taken at a time in nanoseconds."""

    stamp_ns: int
    image: np.ndarray


class StreetCamera(Node):
    """Sends one frame after the other; each is drawn while the one before is being defended, or all of them first."""

    def __init__(self) -> None:
        super().__init__("street_camera")
        self._settings = settings = declare(self, StreetCameraParameters)
        size, shown_s = (settings.width, settings.height), (settings.picture_from_s, settings.picture_until_s)
        carrier = None if settings.carrier == "none" else settings.carrier
        picture = read_picture(Path(settings.picture).expanduser()) if settings.picture else None
        self._drive = StreetDrive(
            settings.seed, settings.duration_s, settings.rate_hz, *size, carrier, picture, *shown_s
        )
        self._images = create_publisher(self, Image, "image_raw", CAMERA_OUT)
        self._camera_infos = create_publisher(self, CameraInfo, "camera_info", CAMERA_OUT)
        self._flags = self.create_subscription(AttackFlag, "zmask/attack", self._flag_arrived, FLAG_OUT)
        self._sent = self._received = self._missing = 0
        self._index = 0
        self._drawn = [self._draw(index) for index in range(len(self._drive))] if settings.drawn_first else []
        self._next = self._frame(0)
        self._awaited_stamp: tuple[int, int] | None = None
        self._may_send_at = float("inf")
        self._subscribed = False
        self.finished = False
        tick_s = TICK_S if settings.pace == "realtime" else LOCKSTEP_TICK_S
        self.create_timer(tick_s, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _frame(self, index: int) -> _Shot:
        return self._drawn[index] if self._drawn else self._draw(index)

    def _draw(self, index: int) -> _Shot:
        frame = self._drive[index]
        return _Shot(frame.stamp_ns, frame.image)

    def close(self) -> None:
        """Wait until the last frame has arrived, and write the summary."""
        self._images.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_S))
        counts = {"frames_sent": self._sent, "flags_received": self._received, "flags_missing": self._missing}
        self.get_logger().info(", ".join(f"{name} {count}" for name, count in counts.items()))
        if self._settings.summary:
            Path(self._settings.summary).expanduser().write_text(json.dumps(counts) + "\n")

    def _tick(self) -> None:
        now = time.monotonic()
        if not self._subscribed:
            self._find_subscribers(now)
        elif self._awaited_stamp is not None:
            if now > self._may_send_at + self._settings.flag_timeout_s:
                self._missing += 1
                self._awaited_stamp = None
                self.get_logger().warning(f"no flag for frame {self._sent - 1}")
        elif self._index >= len(self._drive):
            self.finished = True
        elif now >= self._may_send_at:
            self._send(now)

    def _find_subscribers(self, now: float) -> None:
        lockstep = self._settings.pace == "lockstep"
        enough = self._images.get_subscription_count() >= self._settings.min_subscribers
        if enough and not (lockstep and self.count_publishers(self._flags.topic_name) == 0):
            self._subscribed = True
            self._may_send_at = now + self._settings.settle_s

    def _send(self, now: float) -> None:
        shot = self._next
        seconds, nanoseconds = divmod(shot.stamp_ns, NANOSECONDS)
        header = Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=self._settings.frame_id)
        self._camera_infos.publish(camera_info_message(header, self._drive.camera))
        if self._settings.pace == "lockstep":
            self._awaited_stamp = (seconds, nanoseconds)
            self._may_send_at = now
        else:
            # From the time that was planned: a late frame does not slow the drive down.
            self._may_send_at = max(self._may_send_at + 1.0 / self._settings.rate_hz, now)
        self._images.publish(image_message(header, shot.image, "rgb8"))
        self._sent += 1
        self._index += 1
        if self._index >= len(self._drive) and self._settings.loop:
            self._index = 0
        if self._index < len(self._drive):
            self._next = self._frame(self._index)

    def _flag_arrived(self, message: AttackFlag) -> None:
        # A flag without a frame says that none has come for long.
        self._received += message.sequence > 0
        if self._awaited_stamp == (message.header.stamp.sec, message.header.stamp.nanosec):
            self._awaited_stamp = None
            self._tick()

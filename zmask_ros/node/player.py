"""`player`: plays a bag as `ros2 bag play` does, through our own readers."""

from __future__ import annotations

import importlib
import threading
import time
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from rosgraph_msgs.msg import Clock as ClockMessage

from zmask_ros.io.bags.offered_qos import OfferedQos
from zmask_ros.io.bags.playback import Playback, PlayedTime
from zmask_ros.io.bags.raw_messages import BagError
from zmask_ros.io.prefetch import prefetch
from zmask_ros.node.parameters.player import PlayerParameters
from zmask_ros.node.parameters.spec import ParameterError, declare
from zmask_ros.node.qos import CLOCK_OUT, create_publisher, keep_last
from zmask_ros.node.throttle import at_most_every

CLOCK = "/clock"
# As rosbag2 plays.
DEPTH = 10
# How late a message may be before it is said.
LATE_S = 0.5
WARN_EVERY_S = 5.0
LOOK_EVERY_S = 0.02
ACKNOWLEDGED_S = 2.0


class Player(Node):
    """Publishes what lies in a bag, each message when its time has come; a thread of its own does it."""

    def __init__(self) -> None:
        super().__init__("player")
        self._settings = settings = declare(self, PlayerParameters)
        if not settings.path:
            raise ParameterError("Parameter path is empty: name the bag to play.")
        exclude = [one for one in (settings.exclude_regex, CLOCK if settings.clock_hz else "") if one]
        topics = [topic for topic in settings.topics if topic]
        self._playback = Playback(Path(settings.path).expanduser(), topics, exclude)
        self._publishers_of: dict[str, Publisher] = {}
        self._create_publishers()
        self._played = 0
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._time: PlayedTime | None = None
        if settings.clock_hz:
            self._clock_publisher = create_publisher(self, ClockMessage, CLOCK, CLOCK_OUT)
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            self.create_timer(1.0 / settings.clock_hz, self._publish_clock, clock=steady)
        # A daemon, so that a disk that hangs cannot keep the process alive.
        self._thread = threading.Thread(target=self._run, name="player", daemon=True)
        self._thread.start()

    @property
    def finished(self) -> bool:
        """Whether the bag is over.

        Raises:
            Exception: what ended it before its time.
        """
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop; a disk that does not answer is not waited for."""
        self._stop.set()
        self._thread.join(ACKNOWLEDGED_S)
        for sentence in self._playback.damage:
            self.get_logger().warning(f"{self._settings.path}: {sentence}")
        self.get_logger().info(f"played {self._played} messages of {self._settings.path}")
        if not self._thread.is_alive():
            self._playback.close()

    def _create_publishers(self) -> None:
        """One a topic; what is of a type that is not installed is passed over, as rosbag2 does."""
        for sentence in self._playback.passed_over:
            self.get_logger().warning(sentence)
        for topic in self._playback.topics:
            try:
                kind = _message_class(topic.msgtype)
            except (ImportError, AttributeError, ValueError):
                self.get_logger().warning(f"{topic.name} is not played: {topic.msgtype} is not installed")
                continue
            qos = _qos(self._playback.offered(topic))
            self._publishers_of[topic.name] = create_publisher(self, kind, topic.name, qos)
        if not self._publishers_of:
            self._playback.close()
            raise BagError(f"Nothing of {self._settings.path} can be played: no type of its messages is installed.")

    def _publish_clock(self) -> None:
        # It stands still until the first message is played: it would have to jump back to that.
        now_ns = self._playback.start_ns if self._time is None else self._time.now_ns
        self._clock_publisher.publish(ClockMessage(clock=Time(nanoseconds=max(0, now_ns)).to_msg()))

    # In the thread.

    def _run(self) -> None:
        self.get_logger().info(
            f"plays {self._playback.count} messages on {', '.join(self._publishers_of)}, {self._settings.rate:g} times "
            "as fast as they were recorded"
        )
        try:
            self._wait_for_a_subscriber()
            while not self._stop.wait(self._settings.delay_s):
                self._play()
                if not self._settings.loop:
                    break
            for publisher in self._publishers_of.values():
                # A publisher that is destroyed does not wait for what is on its way.
                if not self._stop.is_set():
                    publisher.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_S))
        except Exception as error:
            self._error = error

    def _wait_for_a_subscriber(self) -> None:
        until_s = time.monotonic() + self._settings.wait_s
        while not any(one.get_subscription_count() for one in self._publishers_of.values()):
            if time.monotonic() > until_s or self._stop.wait(LOOK_EVERY_S):
                return

    def _play(self) -> None:
        """From the beginning to the end."""
        self._time = played = PlayedTime(self._playback.start_ns, self._settings.rate)
        with prefetch(self._playback.messages()) as messages:
            for message in messages:
                wait_s = played.seconds_until(message.received_ns)
                if self._stop.wait(max(0.0, wait_s)):
                    return
                if -wait_s > LATE_S:
                    self.get_logger().warning(
                        f"messages are {-wait_s:.1f} s late: the disk or the machine is too slow for this rate",
                        **at_most_every(WARN_EVERY_S),
                    )
                if (publisher := self._publishers_of.get(message.topic)) is not None:
                    publisher.publish(message.data)
                    self._played += 1


def _message_class(msgtype: str) -> Any:
    """The class of ``package/msg/Name``.

    Raises:
        ImportError, AttributeError: it is not installed.
        ValueError: it is no type's name.
    """
    package, kind, name = msgtype.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), name)


def _qos(offered: OfferedQos) -> QoSProfile:
    return keep_last(
        DEPTH,
        ReliabilityPolicy.RELIABLE if offered.reliable else ReliabilityPolicy.BEST_EFFORT,
        DurabilityPolicy.TRANSIENT_LOCAL if offered.lasting else DurabilityPolicy.VOLATILE,
    )

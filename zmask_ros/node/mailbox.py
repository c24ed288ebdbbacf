"""The mailbox between the callbacks that receive frames and the thread that processes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zmask_ros.io.stamps import stamp_ns


@dataclass(frozen=True)
class Arrival:
    """A message as it came in.

    Attributes:
        message: a sensor_msgs Image or CompressedImage, or the `VideoPicture` of a packet.
        camera: which camera it is of.
        sequence: its number among those of the camera, from 1.
        arrived_ns: when, on the steady clock.
    """

    message: Any
    camera: str = ""
    sequence: int = 1
    arrived_ns: int = field(default_factory=time.monotonic_ns)

    @property
    def stamp_ns(self) -> int:
        """The header's stamp in nanoseconds."""
        return stamp_ns(self.message.header)

    @property
    def latency_ms(self) -> float:
        """Milliseconds since the arrival."""
        return (time.monotonic_ns() - self.arrived_ns) / 1e6


class Mailbox:
    """Holds the latest arrival of each camera. A newer one displaces an older one: what is processed is never stale."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: dict[str, Arrival] = {}
        self._latest: dict[str, Arrival] = {}
        self._periods_ns: dict[str, int] = {}
        self._turns: dict[str, int] = {}
        self._taken = 0
        self._closed = False

    def put(self, arrival: Arrival) -> Arrival | None:
        """Offer ``arrival``; what comes back was displaced by it, or is itself when the mailbox is closed."""
        with self._condition:
            if self._closed:
                return arrival
            displaced = self._waiting.get(arrival.camera)
            self._waiting[arrival.camera] = arrival
            if (before := self._latest.get(arrival.camera)) is not None:
                self._periods_ns[arrival.camera] = arrival.arrived_ns - before.arrived_ns
            self._latest[arrival.camera] = arrival
            self._condition.notify()
            return displaced

    def take(
        self, most: int, patience_s: float = 0.0, taken: Callable[[list[Arrival]], None] = lambda _: None
    ) -> list[Arrival]:
        """Wait for arrivals and take up to ``most``: the cameras first whose last turn is longest ago.

        Args:
            most: how many, at least 1.
            patience_s: where the first camera's next frame is due within these seconds, it is waited for: what is
                processed is then fresh, and not nearly as old as the time between two frames.
            taken: called with them while nobody else looks into the mailbox: at no time are they in neither's hands.

        Returns:
            One arrival a camera; nothing once the mailbox is closed.
        """
        with self._condition:
            cameras: list[str] = []
            # What was waiting may be emptied out while a newer one is waited for.
            while not cameras and not self._closed:
                self._condition.wait_for(lambda: self._waiting or self._closed)
                if self._waiting:
                    self._wait_if_due(self._in_turn()[0], patience_s)
                cameras = self._in_turn()[:most]
            if self._closed:
                return []
            self._taken += 1
            self._turns.update(dict.fromkeys(cameras, self._taken))
            arrivals = [self._waiting.pop(camera) for camera in cameras]
            taken(arrivals)
            return arrivals

    def _in_turn(self) -> list[str]:
        return sorted(self._waiting, key=lambda camera: self._turns.get(camera, 0))

    def _wait_if_due(self, camera: str, patience_s: float) -> None:
        latest = self._latest[camera]
        due_s = (latest.arrived_ns + self._periods_ns.get(camera, 0) - time.monotonic_ns()) / 1e9
        if 0 < due_s <= patience_s:
            self._condition.wait_for(lambda: self._latest[camera] is not latest or self._closed, patience_s)

    def holds(self, camera: str) -> bool:
        """Whether a frame of this camera is waiting."""
        with self._condition:
            return camera in self._waiting

    def empty(self) -> list[Arrival]:
        """Take out all that is waiting; the caller has to flag it."""
        with self._condition:
            left = list(self._waiting.values())
            self._waiting.clear()
            return left

    def close(self) -> list[Arrival]:
        """End all waiting; returns the arrivals that were left."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        return self.empty()

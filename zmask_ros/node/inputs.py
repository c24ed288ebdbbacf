"""Between the callback that receives frames and the thread that processes them: a slot for the latest frame."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from zmask_ros.stamps import stamp_ns


@dataclass(frozen=True)
class Arrival:
    """A message as it came in.

    Attributes:
        message: a sensor_msgs Image or CompressedImage.
        arrived_ns: when, on the steady clock.
    """

    message: Any
    arrived_ns: int = field(default_factory=time.monotonic_ns)

    @property
    def stamp_ns(self) -> int:
        """The header's stamp in nanoseconds."""
        return stamp_ns(self.message.header)

    @property
    def latency_ms(self) -> float:
        """Milliseconds since the arrival."""
        return (time.monotonic_ns() - self.arrived_ns) / 1e6


class LatestSlot:
    """Holds one arrival. A newer one displaces an older one, so that what is processed is never stale."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: Arrival | None = None
        self._closed = False

    def put(self, arrival: Arrival) -> Arrival | None:
        """Offer ``arrival``; what comes back was displaced by it, or is itself when the slot is closed."""
        with self._condition:
            if self._closed:
                return arrival
            displaced, self._waiting = self._waiting, arrival
            self._condition.notify()
            return displaced

    def take(self) -> Arrival | None:
        """Wait for an arrival; None once the slot is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._waiting is not None or self._closed)
            taken, self._waiting = self._waiting, None
            return taken

    def close(self) -> Arrival | None:
        """End all waiting; returns the arrival that was left."""
        with self._condition:
            self._closed = True
            left, self._waiting = self._waiting, None
            self._condition.notify_all()
            return left


class StampWatch:
    """Notices when a camera's time jumps back, as it does when a bag is played in a loop."""

    def __init__(self) -> None:
        self._last_ns: int | None = None

    def jumped_back(self, stamp_ns: int) -> bool:
        """Whether ``stamp_ns`` lies before the one that was given last."""
        jumped = self._last_ns is not None and stamp_ns < self._last_ns
        self._last_ns = stamp_ns
        return jumped

"""The one thread that owns the network: takes the latest frame, processes it, hands the result on. It never dies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from zmask_ros.node.inputs import Arrival, LatestSlot


class Handler(Protocol):
    """What becomes of a frame. Each frame gets exactly one call of `flag` or of `fail`."""

    def process(self, arrival: Arrival) -> Callable[[], None]:
        """Work on it; what is returned publishes the result, its flag first."""

    def fail(self, arrival: Arrival, reason: str) -> None:
        """Flag it as unknown for this reason."""

    def report(self, error: Exception) -> None:
        """Tell the user about an exception that nobody expected."""


class Worker:
    """Runs a handler over the arrivals of a slot in a thread of its own."""

    def __init__(self, slot: LatestSlot, handler: Handler) -> None:
        self._slot = slot
        self._handler = handler
        self._lock = threading.Lock()
        self._current: Arrival | None = None
        # A daemon, so that a network call that hangs cannot keep the process alive.
        self._thread = threading.Thread(target=self._run, name="zmask worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Close the slot and wait for the frame in work; the frames that are not done in time are flagged unknown.

        Returns:
            Whether the thread has ended.
        """
        left = self._slot.close()
        self._thread.join(timeout_s)
        for arrival in (self._claim(), left):
            if arrival is not None:
                self._handler.fail(arrival, "dropped: the node was shut down before this one was processed")
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (arrival := self._slot.take()) is not None:
            with self._lock:
                self._current = arrival
            try:
                self._handle(arrival)
            except Exception as error:
                self._handler.report(error)

    def _handle(self, arrival: Arrival) -> None:
        try:
            publish = self._handler.process(arrival)
        except Exception as error:
            if self._claim() is not None:
                self._handler.fail(arrival, f"internal error: {type(error).__name__}: {error}")
            raise
        if self._claim() is not None:
            publish()

    def _claim(self) -> Arrival | None:
        """The frame in work, for the first who asks: nobody else may flag it."""
        with self._lock:
            claimed, self._current = self._current, None
            return claimed

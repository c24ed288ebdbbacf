"""The one thread that runs the network. It takes the latest frames, and no exception of theirs ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from zmask_ros.denormals import flush_denormals
from zmask_ros.errors import describe_error
from zmask_ros.node.mailbox import Arrival, Mailbox

PATIENCE = 0.2
"""Share of the time that the last frames took for which a newer frame is worth waiting."""
PATIENCE_LIMIT_S = 0.2
"""Nor for longer than this: the last frames may have been stuck for a minute."""
STOPPED = "dropped: the node was stopped before this one was processed"
RELOAD_LIMIT_S = 60.0
"""Loading a network takes seconds; for so long it may, before it counts as stuck."""
NETWORK_LOADS = "the network has been loading anew after an error of the device"
PROFILES_LOAD = "the profiles have been loading anew"


class Handler(Protocol):
    """What the worker does with frames. Each one is published once, or failed once."""

    @property
    def batch_limit(self) -> int:
        """How many frames may be worked on together."""

    def process(self, arrivals: Sequence[Arrival]) -> Iterator[tuple[Arrival, Callable[[], None]]]:
        """Work on them; each with what publishes its result, as soon as it is there."""

    def fail(self, arrival: Arrival, reason: str) -> None:
        """Flag it as unknown for this reason."""

    def report(self, cameras: Sequence[str], error: Exception) -> None:
        """Tell the user about an exception that nobody expected."""


@dataclass(frozen=True)
class _Work:
    """What the device is working on: one object, so that another thread never reads a half-written state.

    Attributes:
        began_ns: on the steady clock.
        frames: how many are in work together.
        loading: what is being loaded again, in a clause; empty: nothing is.
    """

    began_ns: int
    frames: int
    loading: str = ""


class Worker:
    """Runs a handler over the arrivals of a mailbox in a thread of its own."""

    def __init__(self, mailbox: Mailbox, handler: Handler) -> None:
        self._mailbox = mailbox
        self._handler = handler
        self._lock = threading.Lock()
        self._current: dict[str, Arrival] = {}
        self._work: _Work | None = None
        # Held while a frame that was claimed is being flagged.
        self._flagging = threading.Lock()
        # Held while the device is in use.
        self._device = threading.Lock()
        # A daemon, so that a network call that hangs cannot keep the process alive.
        self._thread = threading.Thread(target=self._run, name="zmask worker", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread.is_alive()

    def trouble(self, stuck_after_s: float) -> str:
        """What keeps frames from being processed; empty if nothing does.

        Args:
            stuck_after_s: seconds that a frame may take; those of several cameras together as many times as long.
        """
        if not self.alive:
            return "stopped: the thread that runs the network has ended"
        work = self._work
        if work is None:
            return ""
        seconds = (time.monotonic_ns() - work.began_ns) / 1e9
        if seconds <= stuck_after_s * work.frames:
            return ""
        if work.loading:
            stuck = "stuck: " if seconds > RELOAD_LIMIT_S else ""
            return f"{stuck}{work.loading} for {seconds:.1f} s"
        what = "a frame" if work.frames == 1 else f"{work.frames} frames"
        return f"stuck: the network has been working on {what} for {seconds:.1f} s"

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Inside, the network is loaded again, which takes longer than any frame; afterwards the frames start over."""
        work = self._work
        assert work is not None
        self._work = replace(work, began_ns=time.monotonic_ns(), loading=NETWORK_LOADS)
        try:
            yield
        finally:
            self._work = replace(work, began_ns=time.monotonic_ns())

    def works_on(self, camera: str) -> bool:
        """Whether a frame of this camera is in work that has no flag yet."""
        with self._lock:
            return camera in self._current

    def while_idle(self, action: Callable[[], None], timeout_s: float) -> bool:
        """Run ``action``, which loads the profiles again, here while the worker leaves the device alone.

        Returns:
            Whether it was run: False if the worker did not finish its frames in time.
        """
        if not self._device.acquire(timeout=timeout_s):
            return False
        try:
            self._work = _Work(time.monotonic_ns(), 1, PROFILES_LOAD)
            action()
        finally:
            self._work = None
            self._device.release()
        return True

    def take_away(self) -> list[Arrival]:
        """The frames in work and those that wait: their results are not published, the caller has to flag them."""
        with self._lock:
            taken = list(self._current.values())
            self._current.clear()
        return taken + self._mailbox.empty()

    def stop(self, timeout_s: float) -> bool:
        """Close the mailbox and wait for the frames in work; those that are not done in time are flagged unknown.

        Returns:
            Whether the thread has ended.
        """
        left = self._mailbox.close()
        self._thread.join(timeout_s)
        for arrival in self.take_away() + left:
            self._handler.fail(arrival, STOPPED)
        with self._flagging:
            # Now the last one that the thread had claimed has its flag, too.
            pass
        return not self._thread.is_alive()

    def _run(self) -> None:
        flush_denormals()
        patience_s = 0.0
        while arrivals := self._mailbox.take(self._handler.batch_limit, patience_s, self._taken):
            with self._device:
                began_ns = time.monotonic_ns()
                self._work = _Work(began_ns, len(arrivals))
                self._handle(arrivals)
                self._work = None
                patience_s = min(PATIENCE * (time.monotonic_ns() - began_ns) / 1e9, PATIENCE_LIMIT_S)

    def _taken(self, arrivals: Sequence[Arrival]) -> None:
        with self._lock:
            self._current = {arrival.camera: arrival for arrival in arrivals}

    def _handle(self, arrivals: list[Arrival]) -> None:
        try:
            for arrival, publish in self._handler.process(arrivals):
                self._flag(arrival, publish)
        except Exception as error:
            self._handler.report([arrival.camera for arrival in arrivals], error)
            for arrival in arrivals:
                self._flag(arrival, partial(self._handler.fail, arrival, f"internal error: {describe_error(error)}"))

    def _flag(self, arrival: Arrival, publish: Callable[[], None]) -> None:
        """Publish, once; what one camera's result raises does not keep another camera's from its subscribers."""
        with self._flagging:
            if not self._claim(arrival):
                return
            try:
                publish()
            except Exception as error:
                self._handler.report([arrival.camera], error)

    def _claim(self, arrival: Arrival) -> bool:
        """Claim a frame in work in order to flag it: true for the first caller only."""
        with self._lock:
            if self._current.get(arrival.camera) is not arrival:
                return False
            del self._current[arrival.camera]
            return True

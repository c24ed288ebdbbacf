"""The worker: it never dies, and each frame is flagged exactly once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from support.arrivals import arrival
from support.tiny_numbers import flushed
from zmask_ros.node.mailbox import Arrival, Mailbox
from zmask_ros.node.worker import PATIENCE_LIMIT_S, STOPPED, Worker


class Handler:
    """Remembers what became of each frame."""

    batch_limit = 4

    def __init__(self, process: Callable[[Arrival], None]) -> None:
        self._process = process
        self.flagged: list[tuple[Arrival, str]] = []
        self.errors: list[Exception] = []
        self.done = threading.Condition()

    def process(self, arrivals: Sequence[Arrival]) -> Iterator[tuple[Arrival, Callable[[], None]]]:
        for frame in arrivals:
            self._process(frame)
            yield frame, partial(self.fail, frame, "")

    def fail(self, arrival: Arrival, reason: str) -> None:
        with self.done:
            self.flagged.append((arrival, reason))
            self.done.notify_all()

    def report(self, cameras: Sequence[str], error: Exception) -> None:
        self.errors.append(error)

    def wait_for(self, count: int) -> None:
        with self.done:
            assert self.done.wait_for(lambda: len(self.flagged) >= count, 10.0)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_tiny_numbers_are_zero_where_the_network_runs() -> None:
    # The network may be loaded in a thread that this one does not descend from.
    assert not flushed()
    found: list[bool] = []
    mailbox, handler = Mailbox(), Handler(lambda _: found.append(flushed()))
    worker = Worker(mailbox, handler)
    worker.start()
    mailbox.put(arrival())
    handler.wait_for(1)
    assert worker.stop(5.0)
    assert found == [True]


def test_worker_survives_exceptions_and_flags_the_frame() -> None:
    bad, good = arrival(), arrival()

    def process(frame: Arrival) -> None:
        if frame is bad:
            raise ValueError("out of memory")

    mailbox, handler = Mailbox(), Handler(process)
    worker = Worker(mailbox, handler)
    worker.start()
    mailbox.put(bad)
    handler.wait_for(1)
    mailbox.put(good)
    handler.wait_for(2)
    assert worker.stop(5.0)
    assert handler.flagged == [(bad, "internal error: ValueError: out of memory"), (good, "")]
    assert [str(error) for error in handler.errors] == ["out of memory"]


def test_worker_survives_that_a_frame_cannot_be_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = arrival(), arrival()

    def process(frame: Arrival) -> None:
        if frame is bad:
            raise ValueError("bug")

    mailbox, handler = Mailbox(), Handler(process)
    flag = handler.fail

    def fail(frame: Arrival, reason: str) -> None:
        if frame is bad:
            raise RuntimeError("nobody listens")
        flag(frame, reason)

    monkeypatch.setattr(handler, "fail", fail)
    worker = Worker(mailbox, handler)
    worker.start()
    mailbox.put(bad)
    until(lambda: len(handler.errors) == 2)
    mailbox.put(good)
    handler.wait_for(1)
    assert worker.stop(5.0)
    assert [str(error) for error in handler.errors] == ["bug", "nobody listens"]
    assert handler.flagged == [(good, "")]


def test_however_long_the_last_frames_took_a_newer_one_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zmask_ros.node.worker.PATIENCE", 1e9)
    mailbox, handler = Mailbox(), Handler(lambda _: None)
    take, patience = mailbox.take, []

    def noted(most: int, patience_s: float, taken: Callable[[list[Arrival]], None]) -> list[Arrival]:
        patience.append(patience_s)
        return take(most, 0.0, taken)

    monkeypatch.setattr(mailbox, "take", noted)
    worker = Worker(mailbox, handler)
    worker.start()
    mailbox.put(arrival())
    until(lambda: len(patience) == 2)
    assert patience == [0.0, PATIENCE_LIMIT_S]
    assert worker.stop(5.0)


def test_a_shutdown_finds_a_frame_that_has_just_been_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    took, go_on = threading.Event(), threading.Event()
    mailbox, handler, frame = Mailbox(), Handler(lambda _: None), arrival()
    take = mailbox.take

    def slowly(*arguments: Any) -> list[Arrival]:
        found = take(*arguments)
        took.set()
        go_on.wait(10.0)
        return found

    monkeypatch.setattr(mailbox, "take", slowly)
    worker = Worker(mailbox, handler)
    worker.start()
    mailbox.put(frame)
    assert took.wait(10.0)
    assert not worker.stop(0.0)
    assert handler.flagged == [(frame, STOPPED)]
    go_on.set()
    until(lambda: not worker.alive)
    assert len(handler.flagged) == 1


def test_a_shutdown_waits_for_the_flag_that_is_being_published(monkeypatch: pytest.MonkeyPatch) -> None:
    publishes, go_on, stopped = threading.Event(), threading.Event(), threading.Event()
    mailbox, handler, frame = Mailbox(), Handler(lambda _: None), arrival()
    flag = handler.fail

    def slowly(flagged: Arrival, reason: str) -> None:
        publishes.set()
        go_on.wait(10.0)
        flag(flagged, reason)

    def stop() -> None:
        worker.stop(0.0)
        assert handler.flagged == [(frame, "")]
        stopped.set()

    monkeypatch.setattr(handler, "fail", slowly)
    worker = Worker(mailbox, handler)
    worker.start()
    mailbox.put(frame)
    assert publishes.wait(10.0)
    ends = threading.Thread(target=stop)
    ends.start()
    until(lambda: mailbox.put(arrival()) is not None)
    go_on.set()
    ends.join(10.0)
    assert stopped.is_set()


def test_frames_that_a_shutdown_leaves_are_flagged_exactly_once() -> None:
    began, release = threading.Event(), threading.Event()

    def process(_: Arrival) -> None:
        began.set()
        release.wait(10.0)

    mailbox, handler, stuck, waiting = Mailbox(), Handler(process), arrival(), arrival()
    worker = Worker(mailbox, handler)
    worker.start()
    mailbox.put(stuck)
    assert began.wait(10.0)
    assert worker.works_on("front")
    mailbox.put(waiting)
    assert not worker.stop(0.01)
    release.set()
    assert worker.stop(5.0)
    assert [frame for frame, _ in handler.flagged] == [stuck, waiting]
    assert all("stopped" in reason for _, reason in handler.flagged)


def test_a_stuck_worker_is_noticed_and_its_frames_are_taken_away_once() -> None:
    began, release = threading.Event(), threading.Event()

    def process(_: Arrival) -> None:
        began.set()
        release.wait(10.0)

    mailbox, handler, stuck, waiting = Mailbox(), Handler(process), arrival(), arrival("rear")
    worker = Worker(mailbox, handler)
    worker.start()
    assert worker.trouble(0.0) == ""
    mailbox.put(stuck)
    assert began.wait(10.0)
    mailbox.put(waiting)
    assert worker.trouble(0.0).startswith("stuck: the network has been working on a frame for")
    assert worker.trouble(60.0) == ""
    assert not worker.while_idle(began.clear, 0.01), "the device is in use"
    assert began.is_set()
    assert (worker.take_away(), worker.take_away()) == ([stuck, waiting], [])
    release.set()
    assert worker.while_idle(began.clear, 5.0)
    assert worker.stop(5.0)
    assert worker.trouble(60.0).startswith("stopped")
    assert handler.flagged == []


def test_frames_of_several_cameras_together_take_as_many_times_as_long() -> None:
    release = threading.Event()
    mailbox, handler = Mailbox(), Handler(lambda _: release.wait(10.0))
    mailbox.put(arrival("front"))
    mailbox.put(arrival("rear"))
    worker = Worker(mailbox, handler)
    worker.start()
    until(lambda: bool(worker.trouble(0.1)))
    assert worker.trouble(0.1).startswith("stuck: the network has been working on 2 frames for")
    assert float(worker.trouble(0.1).split()[-2]) >= 0.2
    assert worker.trouble(60.0) == ""
    release.set()
    assert worker.stop(5.0)


def test_a_network_that_is_loaded_anew_is_not_stuck_until_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    loading, loaded, tried, release = (threading.Event() for _ in range(4))

    def process(_: Arrival) -> None:
        with worker.reloading():
            loading.set()
            loaded.wait(10.0)
        tried.set()
        release.wait(10.0)

    mailbox = Mailbox()
    worker = Worker(mailbox, Handler(process))
    worker.start()
    mailbox.put(arrival())
    assert loading.wait(10.0)
    assert worker.trouble(0.0).startswith("the network has been loading anew after an error of the device for")
    assert worker.trouble(60.0) == ""
    monkeypatch.setattr("zmask_ros.node.worker.RELOAD_LIMIT_S", 0.0)
    assert worker.trouble(0.0).startswith("stuck: the network has been loading anew")
    until(lambda: float(worker.trouble(0.0).split()[-2]) >= 1.0)
    loaded.set()
    assert tried.wait(10.0)
    # What is tried again has as long as any other frame.
    assert worker.trouble(1.0) == ""
    assert worker.trouble(0.0).startswith("stuck: the network has been working on a frame")
    release.set()
    assert worker.stop(5.0)

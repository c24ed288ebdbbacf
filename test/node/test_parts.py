"""The parts of the nodes that need no ROS."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from zmask_ros.flags.flag import Flag, FrameState
from zmask_ros.node.device_errors import is_device_error, is_out_of_memory
from zmask_ros.node.diagnostics.health import (
    Assessment,
    CameraHealth,
    Counters,
    Level,
    Snapshot,
    assess_attack,
    assess_inference,
    assess_input,
    assess_safely,
    quantile,
)
from zmask_ros.node.mailbox import Arrival, Mailbox
from zmask_ros.node.parameters.defense import CameraParameters, DefenseParameters
from zmask_ros.node.parameters.spec import specs
from zmask_ros.node.parameters.street import RecorderParameters, StreetCameraParameters
from zmask_ros.node.worker import PATIENCE_LIMIT_S, Worker
from zmask_ros.resources import find_resource

CLEAN = Flag(FrameState.CLEAN, 0.5, 0.5, score=0.1, latency_ms=12.0)
HEALTHY = Snapshot(Counters(arrived=10, clean=10), 10.0, 0.1, (20.0, 30.0), 10, 0, 0, 0, "", CLEAN)


def arrival(camera: str = "front", seconds: float = 0.0) -> Arrival:
    whole = int(seconds)
    stamp = SimpleNamespace(sec=whole, nanosec=round((seconds - whole) * 1e9))
    return Arrival(SimpleNamespace(header=SimpleNamespace(stamp=stamp)), camera)


class Handler:
    """Remembers what became of each frame."""

    batch_limit = 4

    def __init__(self, process: Callable[[Arrival], None]) -> None:
        self._process = process
        self.flagged: list[tuple[Arrival, str]] = []
        self.errors: list[Exception] = []
        self.done = threading.Condition()

    def process(self, arrivals: Sequence[Arrival]) -> Iterator[tuple[Arrival, Callable[[], None]]]:
        for arrival in arrivals:
            self._process(arrival)
            yield arrival, partial(self.fail, arrival, "")

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


def test_the_mailbox_keeps_the_newest_of_each_camera_and_hands_back_the_displaced() -> None:
    mailbox, first, second, rear = Mailbox(), arrival("front"), arrival("front"), arrival("rear")
    assert [mailbox.put(frame) for frame in (first, rear, second)] == [None, None, first]
    assert mailbox.holds("rear")
    assert mailbox.take(4) == [second, rear]
    assert not mailbox.holds("rear")


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=40), st.integers(1, 5))
def test_no_camera_waits_for_more_turns_than_there_are_others(cameras: list[str], most: int) -> None:
    mailbox, waited = Mailbox(), dict.fromkeys("abcde", 0)
    for camera in cameras:
        mailbox.put(arrival(camera))
        taken = {frame.camera for frame in mailbox.take(most)}
        assert 1 <= len(taken) <= most
        for other in waited:
            waited[other] = waited[other] + 1 if mailbox.holds(other) else 0
        assert max(waited.values()) < len(waited)


def test_a_busy_camera_does_not_keep_another_from_its_turn() -> None:
    mailbox = Mailbox()
    mailbox.put(arrival("busy"))
    mailbox.put(arrival("other"))
    mailbox.take(1)
    mailbox.put(arrival("busy"))
    assert [frame.camera for frame in mailbox.take(1)] == ["other"]


def a_second_apart(mailbox: Mailbox, age_s: float) -> Arrival:
    """Two frames of a camera at 1 Hz, the newer one, which is returned, ``age_s`` old."""
    now_ns = time.monotonic_ns()
    for ago_s in (age_s + 1, age_s):
        newest = replace(arrival(), arrived_ns=now_ns - round(ago_s * 1e9))
        mailbox.put(newest)
    return newest


def test_a_frame_that_is_due_is_waited_for() -> None:
    mailbox, fresh = Mailbox(), arrival()
    a_second_apart(mailbox, age_s=0.5)
    threading.Timer(0.02, mailbox.put, [fresh]).start()
    assert mailbox.take(1, patience_s=30.0) == [fresh]


@pytest.mark.parametrize(("age_s", "patience_s"), [(0.1, 0.2), (0.5, 0.0), (5.0, 30.0)])
def test_a_frame_that_is_not_due_soon_or_overdue_is_not_waited_for(age_s: float, patience_s: float) -> None:
    mailbox, began = Mailbox(), time.monotonic()
    newest = a_second_apart(mailbox, age_s)
    assert mailbox.take(1, patience_s) == [newest]
    assert time.monotonic() - began < 10.0


def test_a_frame_that_is_due_and_does_not_come_is_given_up() -> None:
    mailbox = Mailbox()
    newest = a_second_apart(mailbox, age_s=0.95)
    assert mailbox.take(1, patience_s=0.1) == [newest]


def test_a_mailbox_that_is_closed_does_not_wait_for_frames_that_are_due() -> None:
    mailbox, began = Mailbox(), time.monotonic()
    a_second_apart(mailbox, age_s=0.5)
    threading.Timer(0.02, mailbox.close).start()
    assert mailbox.take(1, patience_s=30.0) == []
    assert time.monotonic() - began < 10.0


def test_a_mailbox_that_is_emptied_while_a_frame_is_due_goes_on_waiting() -> None:
    mailbox, fresh, taken = Mailbox(), arrival(), []
    newest = a_second_apart(mailbox, age_s=0.5)
    taker = threading.Thread(target=lambda: taken.extend(mailbox.take(1, patience_s=1.0)), daemon=True)
    taker.start()
    taker.join(0.1)
    assert mailbox.empty() == [newest], "it is waiting for the next one"
    taker.join(1.5)
    assert taker.is_alive(), "the worker would have ended"
    mailbox.put(fresh)
    taker.join(5.0)
    assert taken == [fresh]


def test_a_closed_mailbox_hands_back_everything() -> None:
    mailbox, left, late = Mailbox(), arrival(), arrival()
    mailbox.put(left)
    assert mailbox.close() == [left]
    assert mailbox.put(late) is late
    assert mailbox.take(1) == []


def test_stamp_is_read_to_the_nanosecond() -> None:
    assert arrival(seconds=12.345).stamp_ns == 12_345_000_000


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

    def noted(most: int, patience_s: float) -> list[Arrival]:
        patience.append(patience_s)
        return take(most)

    monkeypatch.setattr(mailbox, "take", noted)
    worker = Worker(mailbox, handler)
    worker.start()
    mailbox.put(arrival())
    until(lambda: len(patience) == 2)
    assert patience == [0.0, PATIENCE_LIMIT_S]
    assert worker.stop(5.0)


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


@pytest.mark.parametrize(
    ("error", "memory", "device"),
    [
        (MemoryError(), True, False),
        (RuntimeError("CUDA error: out of memory"), True, False),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True, False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True, False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False, True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False, True),
        (ValueError("CUDA error, says somebody"), False, False),
        (RuntimeError("shapes do not fit"), False, False),
    ],
)
def test_errors_of_the_network_are_told_apart(error: Exception, memory: bool, device: bool) -> None:
    assert (is_out_of_memory(error), is_device_error(error)) == (memory, device)


def test_quantile_is_the_nearest_rank() -> None:
    values = tuple(float(value) for value in range(1, 101))
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile((7.0,), 0.99)) == (51.0, 100.0, 7.0)
    assert math.isnan(quantile((), 0.5))


def test_health_counts_and_rates_start_anew_with_each_snapshot() -> None:
    health = CameraHealth()
    health.arrived()
    health.flagged(Flag(FrameState.ATTACK, 0.5, 0.5, score=0.9, latency_ms=12.0))
    health.flagged(Flag(FrameState.UNKNOWN, 0.5, 0.5, "broken"))
    first, second = health.snapshot(), health.snapshot()
    assert (first.attacks, first.unknowns, first.latencies_ms) == (1, 1, (12.0,))
    assert (second.attacks, second.unknowns, second.rate_hz) == (0, 0, 0.0)
    assert (second.counters.attack, second.counters.unknown, second.last_flag.reason) == (1, 1, "broken")


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({}, Level.OK, "10.0 frames/s"),
        ({"age_s": None}, Level.WARN, "no frames yet on /image_raw"),
        ({"age_s": 3.0}, Level.ERROR, "no frames on /image_raw for 3.0 s"),
        ({"age_s": None, "incompatible_qos": "RELIABILITY"}, Level.ERROR, "incompatible QoS policy (RELIABILITY)"),
        ({"unknowns": 2, "last_unknown": "the step lies"}, Level.WARN, "the step lies"),
    ],
)
def test_input_is_assessed(change: dict[str, object], level: Level, words: str) -> None:
    assessment = assess_input("front", "/image_raw", 1, 1.0, replace(HEALTHY, **change))
    assert (assessment.name, assessment.level) == ("front input", level)
    assert words in assessment.message


def test_a_topic_that_nobody_publishes_is_an_error() -> None:
    assert assess_input("front", "/image_raw", 0, 1.0, replace(HEALTHY, age_s=None)).level is Level.ERROR


def test_attack_and_internal_errors_are_errors() -> None:
    assert assess_attack("front", HEALTHY).level is Level.OK
    assert assess_attack("front", replace(HEALTHY, attacks=1)).level is Level.ERROR
    assert assess_attack("front", replace(HEALTHY, last_flag=Flag(FrameState.UNKNOWN, 0.5, 0.5))).level is Level.WARN
    assert assess_inference("front", "cpu", HEALTHY).level is Level.OK
    broken = assess_inference("front", "cpu", replace(HEALTHY, internal_errors=1))
    assert broken.level is Level.ERROR
    assert assess_inference("front", "cpu", HEALTHY, "stopped").level is Level.ERROR


def test_the_reason_for_an_unusable_frame_outlives_the_next_flag_and_a_frame_proves_the_qos() -> None:
    health = CameraHealth()
    health.qos_is_incompatible("RELIABILITY")
    health.arrived()
    health.flagged(Flag(FrameState.UNKNOWN, 0.5, 0.5, "the step lies"))
    health.flagged(replace(CLEAN, reason="masked as a precaution"))
    now = replace(health.snapshot(), age_s=3.0)
    assert "the step lies" in assess_input("front", "/image_raw", 1, 5.0, now).message
    assert "no frames on" in assess_input("front", "/image_raw", 1, 1.0, now).message


def test_an_internal_error_is_an_error_of_its_period_and_stays_counted() -> None:
    health = CameraHealth()
    health.failed("ValueError: no")
    first, second = (assess_inference("front", "cpu", health.snapshot()) for _ in range(2))
    assert (first.level, second.level) == (Level.ERROR, Level.OK)
    assert second.values["internal errors since the start"] == "1"


def test_a_camera_that_has_stopped_is_not_called_clean() -> None:
    health = CameraHealth()
    assert assess_attack("front", health.snapshot()).level is Level.STALE
    health.flagged(CLEAN)
    first, second = (assess_attack("front", health.snapshot()) for _ in range(2))
    assert (first.level, first.message) == (Level.OK, "clean")
    assert second.level is Level.STALE
    assert "clean" not in second.message


def test_a_task_that_cannot_be_assessed_is_an_error_of_its_own() -> None:
    def assess() -> Assessment:
        raise RuntimeError("the GPU has fallen off the bus")

    failed = assess_safely("device", assess)
    assert (failed.name, failed.level) == ("device", Level.ERROR)
    assert "fallen off the bus" in failed.message


def test_the_documented_parameters_are_those_of_the_code() -> None:
    text = find_resource("config/defense.yaml").read_text()
    documented = yaml.safe_load(text)["/**"]["ros__parameters"]
    text = " ".join(text.replace("\n    # ", " ").split())
    assert documented == {spec.name: spec.default for spec in specs(DefenseParameters)}
    for spec in specs(DefenseParameters):
        assert spec.description.replace("'", '"') in text.replace("'", '"'), spec.name


@pytest.mark.parametrize("table", [DefenseParameters, CameraParameters, StreetCameraParameters, RecorderParameters])
def test_every_default_is_allowed(table: type) -> None:
    for spec in specs(table):
        assert spec.description.endswith("."), spec.name
        assert not spec.choices or spec.default in spec.choices
        assert spec.minimum is None or spec.default >= spec.minimum
        assert spec.maximum is None or spec.default <= spec.maximum


def test_parts_import_without_ros() -> None:
    modules = ("camera_parameters", "cameras", "defense_parameters", "diagnostics", "faults", "inputs", "network")
    modules += ("network_health", "running", "worker")
    imports = "; ".join(f"import zmask_ros.node.{module}" for module in modules)
    block = "import sys; sys.modules.update(rclpy=None, torch=None)"
    subprocess.run([sys.executable, "-c", f"{block}; {imports}"], check=True, timeout=30)

"""Workers of a Ray cluster, each with its own CPU: they are given tasks, and tasks whose worker dies are given again.

An actor of Ray holds what takes long to load, such as the network, and one task at a time. The driver asks each of them
how far it is: one that makes no more progress is ended.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from zmask_ros.errors import ZmaskError, describe_error
from zmask_ros.fleet.libraries import import_ray

AUTO, LOCAL = "auto", "local"
POLL_S = 0.5
"""Between two looks at how far the workers are, seconds."""
CLUSTER_EVERY_S = 5.0
"""Between two looks at how many CPUs the cluster has, seconds."""
MOST_STARTS = 5
"""Workers in a row that die before they are ready, after which it is given up."""
OBJECT_STORE_BYTES = 256 << 20
"""Of a cluster on this machine: what a worker returns stays in it until it is written to disk, a moment later."""

TaskT = TypeVar("TaskT", bound=Hashable)


@dataclass(frozen=True)
class PoolSettings:
    """Who works, and for how long a task may stand still.

    Attributes:
        address: of a Ray cluster; `LOCAL`: one is started on this machine; `AUTO`: that, unless one runs here already.
        workers: most of them; None: one for each CPU of the cluster, also of nodes that join later.
        timeout_s: a task without progress for so long is given up, seconds.
        attempts: a task whose worker died so many times is given up.
        gpus: of each worker.
        threads: CPU threads of each worker, which takes so many CPUs. Sums of floating-point numbers depend on it.
    """

    address: str = AUTO
    workers: int | None = None
    timeout_s: float = 600.0
    attempts: int = 3
    gpus: float = 0
    threads: int = 1


class Pulse:
    """How far a task is, counted by the worker and read by the driver.

    Attributes:
        frames: that are done.
        beats: of whatever else shows that it goes on, such as a download.
    """

    def __init__(self) -> None:
        self.frames = self.beats = 0

    def frame(self, steps: float = 1, note: str = "") -> None:
        """Frames are done: an `Advance`."""
        self.frames += int(steps)

    def beat(self) -> None:
        """Something else goes on."""
        self.beats += 1


Run = Callable[[Any, Pulse], Any]
"""What a worker does with a task; a `ZmaskError` means that the task cannot be done."""


@dataclass(frozen=True)
class Done(Generic[TaskT]):
    """What became of a task: its result, or why there is none."""

    task: TaskT
    result: Any = None
    refusal: str = ""


@dataclass(frozen=True)
class _Answer:
    result: Any = None
    refusal: str = ""


class _Worker:
    """Lives in a process of the cluster."""

    def __init__(self, make_run: Callable[[], Run], threads: int) -> None:
        torch.set_num_threads(threads)
        self._pulse = Pulse()
        self._refusal, self._run = "", None
        try:
            self._run = make_run()
        except ZmaskError as error:
            self._refusal = str(error)

    def ready(self) -> str:
        """Empty, or why it cannot work."""
        return self._refusal

    def run(self, task: Any) -> _Answer:
        """The answer to a task."""
        assert self._run is not None
        try:
            return _Answer(self._run(task, self._pulse))
        except ZmaskError as error:
            return _Answer(refusal=str(error))
        # One strange bag among thousands must not end the others' work.
        except Exception as error:
            if _is_out_of_memory(error):
                # The driver takes it for lost, and another worker does it again.
                raise
            return _Answer(refusal=describe_error(error))

    def pulse(self) -> tuple[int, int]:
        """Frames and beats so far."""
        return self._pulse.frames, self._pulse.beats


def _is_out_of_memory(error: Exception) -> bool:
    # torch has no class of its own for the memory of the CPU.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@dataclass
class _Slot:
    """A worker as the driver sees it.

    Attributes:
        actor: the handle.
        awaited: what it is to answer next: that it is ready, or a task.
        task: that it works on.
        ready: whether it ever was.
        pulse: what it last said of itself, and ``moved`` when that was news.
        asked: the answer to the question how far it is.
    """

    actor: Any
    awaited: Any
    task: Any = None
    ready: bool = False
    pulse: tuple[int, int] = (0, 0)
    moved: float = field(default_factory=time.monotonic)
    asked: Any = None


class RayPool:
    """A pool of workers; a context manager that leaves no worker behind.

    Args:
        make_run: is called once in each worker, and makes what the worker does with a task.
        settings: who works.

    Attributes:
        workers: the most that were ready at the same time.
        retried: how many tasks were given again.
        dashboard: address of Ray's dashboard; empty where none runs.

    Raises:
        ZmaskError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, make_run: Callable[[], Run], settings: PoolSettings) -> None:
        self._ray = import_ray()
        self._settings = settings
        self.dashboard = _connect(self._ray, settings)
        self._make_run = self._ray.put(make_run)
        options = {"num_cpus": settings.threads, "num_gpus": settings.gpus, "max_concurrency": 2, "max_restarts": 0}
        self._actor_class = self._ray.remote(**options)(_Worker)
        self._slots: list[_Slot] = []
        self._losses: Counter[Any] = Counter()
        self._failed_starts = 0
        self._wanted, self._wanted_at, self._watched_at = 0, -math.inf, -math.inf
        self._began = time.monotonic()
        self.workers = self.retried = 0

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        for slot in self._slots:
            self._ray.kill(slot.actor)
        self._slots.clear()
        self._ray.shutdown()

    def titled(self, description: str) -> str:
        """What a bar is called: with the address of Ray's dashboard, where one runs."""
        return f"{description} (http://{self.dashboard})" if self.dashboard else description

    def remark(self, steps: int, skipped: int, unit: str = "frames") -> str:
        """What is shown beside a bar: so many steps of one ``unit`` are done, and so many tasks skipped."""
        speed = steps / max(time.monotonic() - self._began, 1e-9)
        counted = f"{steps} {unit}, {speed:.1f} {unit}/s, {skipped} skipped"
        return f"{counted}, {self.retried} retried, {self.workers} workers"

    def run(self, tasks: deque[TaskT], prepare: Callable[[TaskT], TaskT] = lambda task: task) -> Iterator[Done[TaskT]]:
        """Do all ``tasks``; each is answered once, in whatever order.

        Args:
            tasks: emptied on the way; the caller may add to it, or remove from it, whenever it is handed an answer.
            prepare: called with a task right before it is given to a worker; what it returns equals it.

        Raises:
            ZmaskError: the workers cannot work.
        """
        while tasks or any(slot.task is not None for slot in self._slots):
            self._hire(len(tasks))
            for slot in self._slots:
                if slot.ready and slot.task is None and tasks:
                    slot.task, slot.moved = tasks.popleft(), time.monotonic()
                    slot.awaited = slot.actor.run.remote(prepare(slot.task))
            awaited = {slot.awaited: slot for slot in self._slots if slot.awaited is not None}
            answered, _ = self._ray.wait(list(awaited), timeout=POLL_S) if awaited else ([], None)
            for reference in answered:
                yield from self._answered(awaited[reference], tasks)
            yield from self._watch()

    def _hire(self, waiting: int) -> None:
        """As many workers as are wanted and have something to do."""
        now = time.monotonic()
        if now - self._wanted_at >= CLUSTER_EVERY_S:
            resources = self._ray.cluster_resources()
            most = resources.get("CPU", 0) / self._settings.threads
            if self._settings.gpus:
                most = min(most, resources.get("GPU", 0) / self._settings.gpus)
            self._wanted, self._wanted_at = max(1, self._settings.workers or int(most)), now
        free = sum(slot.task is None for slot in self._slots)
        for _ in range(min(self._wanted - len(self._slots), waiting - free)):
            actor = self._actor_class.remote(self._make_run, self._settings.threads)
            self._slots.append(_Slot(actor, actor.ready.remote()))

    def _answered(self, slot: _Slot, tasks: deque[Any]) -> Iterator[Done[Any]]:
        awaited, slot.awaited = slot.awaited, None
        try:
            answer = self._ray.get(awaited)
        except self._ray.exceptions.RayError as error:
            yield from self._lost(slot, tasks, error)
            return
        if not slot.ready:
            if answer:
                raise ZmaskError(f"The workers cannot work: {answer}")
            slot.ready, self._failed_starts = True, 0
            self.workers = max(self.workers, sum(each.ready for each in self._slots))
            return
        task, slot.task = slot.task, None
        yield Done(task, answer.result, answer.refusal)

    def _lost(self, slot: _Slot, tasks: deque[Any], error: BaseException) -> Iterator[Done[Any]]:
        """A worker is dead, or its answer got lost with a node."""
        self._dismiss(slot)
        if not slot.ready:
            self._failed_starts += 1
            if self._failed_starts == MOST_STARTS:
                raise ZmaskError(f"{MOST_STARTS} workers in a row did not start, the last: {describe_error(error)}")
        if slot.task is None:
            return
        self._losses[slot.task] += 1
        if self._losses[slot.task] < self._settings.attempts:
            self.retried += 1
            tasks.appendleft(slot.task)
        else:
            times = self._losses[slot.task]
            yield Done(slot.task, refusal=f"its worker died {times} times, the last: {describe_error(error)}")

    def _watch(self) -> Iterator[Done[Any]]:
        """How far the workers are; whoever stands still is ended."""
        now = time.monotonic()
        if now - self._watched_at < POLL_S:
            return
        self._watched_at = now
        busy = [slot for slot in self._slots if slot.task is not None]
        for slot in busy:
            slot.asked = slot.asked or slot.actor.pulse.remote()
        asked = [slot.asked for slot in busy]
        answered = set(self._ray.wait(asked, num_returns=len(asked), timeout=0)[0]) if asked else set()
        for slot in busy:
            if slot.asked in answered:
                self._hear(slot, now)
            if now - slot.moved > self._settings.timeout_s:
                self._dismiss(slot)
                yield Done(slot.task, refusal=f"no progress in {self._settings.timeout_s:g} s: it hangs")

    def _hear(self, slot: _Slot, now: float) -> None:
        try:
            pulse = self._ray.get(slot.asked)
        except self._ray.exceptions.RayError:
            # Its task will not be answered either.
            return
        finally:
            slot.asked = None
        if pulse != slot.pulse:
            slot.pulse, slot.moved = pulse, now

    def _dismiss(self, slot: _Slot) -> None:
        self._slots.remove(slot)
        self._ray.kill(slot.actor)


def _connect(ray: Any, settings: PoolSettings) -> str:
    """Connect to a cluster, or start one; the address of its dashboard, empty where none runs."""
    if Path(settings.address).exists():
        raise ZmaskError(
            f"{settings.address} is a file and no address of a Ray cluster: write --ray behind the bags, or --ray auto."
        )
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    cpus = settings.workers * settings.threads if settings.workers else max(settings.threads, os.cpu_count() or 1)
    own: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False}
    own["object_store_memory"] = OBJECT_STORE_BYTES
    try:
        context = ray.init(settings.address, **quiet, **(own if settings.address == LOCAL else {}))
    except (ConnectionError, RuntimeError, ValueError) as error:
        if settings.address != AUTO:
            raise ZmaskError(f"There is no Ray cluster at {settings.address}: {describe_error(error)}.") from error
        context = ray.init(LOCAL, **own, **quiet)
    return getattr(context, "dashboard_url", "") or ""

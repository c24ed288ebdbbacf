"""Work for the workers of a pool that goes wrong in one way each; a worker imports little for it, and starts soon."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from zmask_ros.errors import ZmaskError
from zmask_ros.fleet.pool import Pulse

DIES_ONCE, DIES, HANGS, REFUSES, FAILS, WORKS = "dies once", "dies", "hangs", "refuses", "fails", "works"
FILLS_ONCE, FILLS_TORCH_ONCE = "fills its memory once", "fills its memory with a tensor once"
MORE_BYTES = 64 << 20
"""That a worker may take before its memory is full."""


@dataclass(frozen=True)
class Order:
    """A task that is done in one of these ways."""

    number: int
    kind: str


@dataclass(frozen=True)
class FaultyWork:
    """Each order that is begun leaves a line in a file of the folder."""

    folder: Path

    def __call__(self) -> Callable[[Order, Pulse], int]:
        def run(order: Order, pulse: Pulse) -> int:
            with (self.folder / f"{order.number}").open("a") as begun:
                begun.write("begun\n")
            times = len((self.folder / f"{order.number}").read_text().splitlines())
            if order.kind == DIES or (order.kind == DIES_ONCE and times == 1):
                os.kill(os.getpid(), signal.SIGKILL)
            if order.kind in (FILLS_ONCE, FILLS_TORCH_ONCE) and times == 1:
                fill_the_memory(order.kind == FILLS_TORCH_ONCE)
            if order.kind == HANGS:
                threading.Event().wait()
            if order.kind == REFUSES:
                raise ZmaskError("This bag is no bag.")
            if order.kind == FAILS:
                raise KeyError("unexpected")
            pulse.frame()
            return order.number**2

        return run


def fill_the_memory(with_a_tensor: bool) -> None:
    """Ask for more memory than the process may have."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + MORE_BYTES, limits[1]))
    try:
        if with_a_tensor:
            torch.empty(4 * MORE_BYTES, dtype=torch.uint8)
        else:
            bytearray(4 * MORE_BYTES)
    finally:
        # What Ray does next would fail as well.
        resource.setrlimit(resource.RLIMIT_AS, limits)


def cannot_work() -> Callable[[Order, Pulse], int]:
    """A worker that does not find the network."""
    raise ZmaskError("There is no segmenter of that name.")

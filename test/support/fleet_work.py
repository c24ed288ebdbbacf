"""Work for the workers of a pool that goes wrong in one way each."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zmask_ros.errors import ZmaskError
from zmask_ros.fleet.pool import Pulse

DIES_ONCE, DIES, HANGS, REFUSES, FAILS, WORKS = "dies once", "dies", "hangs", "refuses", "fails", "works"


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
            if order.kind == HANGS:
                threading.Event().wait()
            if order.kind == REFUSES:
                raise ZmaskError("This bag is no bag.")
            if order.kind == FAILS:
                raise KeyError("unexpected")
            pulse.frame()
            return order.number**2

        return run


def cannot_work() -> Callable[[Order, Pulse], int]:
    """A worker that does not find the network."""
    raise ZmaskError("There is no segmenter of that name.")

"""Work of a fit and of an evaluation in the middle of which a node or a worker dies."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zmask_ros.evaluation.protocol.workbench import Outcome, Piece
from zmask_ros.fleet.evaluation import EvaluationWork
from zmask_ros.fleet.fit import FitTask, FitWork
from zmask_ros.fleet.pool import Pulse


class NodeKillingFit:
    """The work of a fit; whoever is given a certain bag first takes its whole node down, as a power cut does.

    Args:
        bag: that bag.
        killed: a file that is there once that has happened.
        work: arguments of `FitWork`.
    """

    def __init__(self, bag: str, killed: Path, *work: Any) -> None:
        self._bag, self._killed, self._work = bag, killed, FitWork(*work)
        self.observing, self.reading = self._work.observing, self._work.reading

    def __call__(self) -> Callable[[FitTask, Pulse], bytes]:
        run = self._work()

        def run_or_kill(task: FitTask, pulse: Pulse) -> bytes:
            if task.bag == self._bag and not self._killed.exists():
                self._killed.touch()
                # The parent of a worker is Ray's own process of the node.
                os.kill(os.getppid(), signal.SIGKILL)
                threading.Event().wait()
            return run(task, pulse)

        return run_or_kill


class WorkerKillingEvaluation:
    """The work of an evaluation; whoever is given a certain job first dies in the middle of it.

    Args:
        name: of that job.
        killed: a file that is there once that has happened.
        work: arguments of `EvaluationWork`.
    """

    def __init__(self, name: str, killed: Path, *work: Any) -> None:
        self._name, self._killed, self._work = name, killed, EvaluationWork(*work)

    def __call__(self) -> Callable[[Piece, Pulse], Outcome]:
        run = self._work()

        def run_or_die(piece: Piece, pulse: Pulse) -> Outcome:
            outcome: Outcome = run(piece, pulse)
            if piece.name == self._name and not self._killed.exists():
                self._killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return outcome

        return run_or_die

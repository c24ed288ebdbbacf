"""From the command line to a spinning node and back: start-up errors, Ctrl-C, SIGTERM, the exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Protocol

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from zmask_ros.errors import ZmaskError

# How long a signal waits for the executor at most.
SPIN_S = 0.1


class Runnable(Protocol):
    """A node with an end."""

    node: Node

    @property
    def finished(self) -> bool:
        """Whether it has done all that it was started for."""

    def close(self) -> bool:
        """End its work while topics can still be published to; False: a thread is left that does not end."""


class _Interrupted(BaseException):
    """A signal came before the node was there."""


class _Signals:
    """SIGINT and SIGTERM: an exception while the node is made, which may take seconds, a note afterwards."""

    def __init__(self) -> None:
        self.received = False
        self.starting = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True
        if self.starting:
            raise _Interrupted


def run(make: Callable[[], Runnable], arguments: list[str] | None = None) -> int:
    """Make a node and spin it until it has finished or a signal comes.

    rclpy's own signal handling is not used: it closes the context at once, and the last frames could not be flagged.

    Returns:
        The exit code: 0 after a clean end, 2 when the node could not be started, with one sentence on stderr.
    """
    signals = _Signals()
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        runnable = make()
        signals.starting = False
    except _Interrupted:
        return _end()
    except (ZmaskError, ParameterException) as error:
        return _refuse(str(error))
    except Exception as error:
        # rclpy has no common class for arguments, parameter files and QoS overrides that it cannot take.
        if type(error).__module__.startswith("rclpy"):
            return _refuse(str(error))
        raise
    _spin(runnable, signals)
    ended = runnable.close()
    runnable.node.destroy_node()
    return _end(ended)


def _spin(runnable: Runnable, signals: _Signals) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(runnable.node)
    while not signals.received and not runnable.finished:
        executor.spin_once(timeout_sec=SPIN_S)
    executor.remove_node(runnable.node)


def _end(all_threads_ended: bool = True) -> int:
    rclpy.try_shutdown()
    if not all_threads_ended:
        # Python would wait for nobody, but a network call that returns during its shutdown crashes the process.
        sys.stderr.flush()
        os._exit(0)
    return 0


def _refuse(sentence: str) -> int:
    print(f"zmask_ros: {' '.join(sentence.split())}", file=sys.stderr)
    rclpy.try_shutdown()
    return 2

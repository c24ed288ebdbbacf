"""From the command line to a spinning node and back: start-up errors, Ctrl-C, SIGTERM, the exit code."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn, Protocol

from zmask_ros.errors import ZmaskError
from zmask_ros.launched import end_with_launch
from zmask_ros.malloc import keep_freed_memory
from zmask_ros.openmp import set_up_openmp

# How long a signal waits for the executor at most.
SPIN_S = 0.1


class Runnable(Protocol):
    """An rclpy node with an end."""

    @property
    def finished(self) -> bool:
        """Whether it has done all that it was started for."""

    def close(self) -> None:
        """End its work while topics can still be published to; a thread that does not end may be left."""

    def destroy_node(self) -> Any:
        """Take it off the network, as every rclpy node does."""


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


def run(node: str, arguments: list[str] | None = None) -> int:
    """Make a node and spin it until it has finished or a signal comes.

    Args:
        node: `module:class` of a `Runnable`; a name, because importing it takes seconds that a signal may fall into.
        arguments: of the command line; None takes those of the process.

    After a clean end the process ends here, with exit code 0.

    Returns:
        The exit code 2 when the node could not be started, or could not go on because of a full disk and the like,
        with one sentence on stderr.
    """
    keep_freed_memory()
    set_up_openmp()
    signals = _Signals()
    try:
        end_with_launch()
        runnable = _make(node, arguments)
        signals.starting = False
    except _Interrupted:
        return _end()
    except (ZmaskError, OSError) as error:
        return _refuse(str(error))
    except Exception as error:
        if signals.received:
            # What is raised while a class is made comes out as a RuntimeError before Python 3.12.
            return _end()
        # rclpy has no common class for arguments, parameter files and QoS overrides that it cannot take.
        if not type(error).__module__.startswith("rclpy"):
            raise
        return _refuse(f"rclpy refuses ({type(error).__name__}): {error}")
    try:
        _work(runnable, signals)
    except (ZmaskError, OSError) as error:
        return _refuse(str(error))
    runnable.destroy_node()
    return _end()


def _make(node: str, arguments: list[str] | None) -> Runnable:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    # rclpy's own handlers close the context at once, and the last frames could not be flagged.
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    module, _, name = node.partition(":")
    make: Any = getattr(importlib.import_module(module), name)
    runnable: Runnable = make()
    return runnable


def _work(runnable: Runnable, signals: _Signals) -> None:
    """Spin and close, which has to happen whatever a callback raises: flags and a bag depend on it."""
    try:
        _spin(runnable, signals)
    except BaseException:
        runnable.close()
        raise
    runnable.close()


def _spin(runnable: Runnable, signals: _Signals) -> None:
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(runnable)
    while not signals.received and not runnable.finished:
        executor.spin_once(timeout_sec=SPIN_S)
    executor.remove_node(runnable)


def _end() -> NoReturn:
    """End the process at once, without taking the interpreter and torch apart.

    That takes up to seconds. In it a network call that returns crashes the process, and a second SIGINT kills it, since
    Python has put the signal's default back: `ros2 launch` sends one to its processes also after a Ctrl-C that has
    reached them by itself, unless it runs in a terminal.
    """
    import rclpy

    rclpy.try_shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _refuse(sentence: str) -> int:
    import rclpy

    print(f"zmask_ros: {' '.join(sentence.split())}", file=sys.stderr)
    rclpy.try_shutdown()
    return 2

"""Times two computations in turn on the same inputs, so that only times that lie next to each other are compared.

Machines change their pace from second to second; the ratio of two neighboring times does not care.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch

Input = TypeVar("Input")
First = TypeVar("First")
Second = TypeVar("Second")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Timed(Generic[Result]):
    """A result, and the milliseconds that it took."""

    result: Result
    milliseconds: float


@dataclass(frozen=True)
class Quartiles:
    """Lower quartile, median and upper quartile."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Quartiles:
        """The quartiles of at least one value."""
        low, median, high = np.percentile(values, [25, 50, 75])
        return Quartiles(float(low), float(median), float(high))


def timed_in_turn(
    device: torch.device,
    first: Callable[[Input], First],
    second: Callable[[Input], Second],
    inputs: Iterable[Input],
) -> Iterator[tuple[Timed[First], Timed[Second]]]:
    """Both computations on each input, one right after the other.

    Which of the two goes first changes from input to input, so that neither always finds warm caches.

    Args:
        device: Where they run: times are of the wall clock on the CPU, and of events in the stream on CUDA.
        first, second: The computations.
        inputs: What each of them is given.
    """
    for index, value in enumerate(inputs):
        if index % 2 == 0:
            one = _timed(device, first, value)
            two = _timed(device, second, value)
        else:
            two = _timed(device, second, value)
            one = _timed(device, first, value)
        yield one, two


def median_ratio(
    device: torch.device,
    first: Callable[[Input], object],
    second: Callable[[Input], object],
    inputs: Iterable[Input],
) -> float:
    """How many times as long as ``first`` the computation ``second`` takes, as the median over at least one input."""
    pairs = timed_in_turn(device, first, second, inputs)
    return float(np.median([two.milliseconds / one.milliseconds for one, two in pairs]))


def _timed(device: torch.device, call: Callable[[Input], Result], value: Input) -> Timed[Result]:
    if device.type != "cuda":
        started = time.perf_counter()
        result = call(value)
        return Timed(result, (time.perf_counter() - started) * 1e3)
    torch.cuda.synchronize()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()  # type: ignore[no-untyped-call]
    result = call(value)
    end.record()  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    return Timed(result, float(start.elapsed_time(end)))

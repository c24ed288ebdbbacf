"""Times two computations in turn on the same inputs, so that only times that lie next to each other are compared.

Machines change their pace from second to second; the ratio of two neighboring times does not care. What the defense
costs is timed in this way: the plain and the defended network on the same frames, both from the camera's image to
labels at the network's resolution.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense import CameraState, Defense, DefenseResult, StreamingDefense
from zmask_ros.errors import ZmaskError
from zmask_ros.progress import Advance, no_advance
from zmask_ros.segmenters import Segmenter
from zmask_ros.segmenters.engine.network import one_thread_beside
from zmask_ros.segmenters.labels import labels_of

WARM_UP = 5
Defend = Callable[[Tensor], DefenseResult]
Input = TypeVar("Input")


class Quartiles(NamedTuple):
    """Lower quartile, median and upper quartile."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Quartiles:
        """The quartiles of at least one value."""
        return Quartiles(*map(float, np.percentile(values, [25, 50, 75])))


def p99(times: Sequence[float]) -> float:
    """The time that one of a hundred exceeds."""
    return float(np.percentile(times, 99))


def timed_in_turn(
    device: torch.device, calls: Sequence[Callable[[Input], object]], inputs: Iterable[Input]
) -> Iterator[tuple[float, ...]]:
    """The milliseconds of all computations on each input, one right after the other.

    Which of them goes first changes from input to input, so that none always finds warm caches.

    Args:
        device: Where they run: times are of the wall clock on the CPU, and of events in the stream on CUDA.
        calls: The computations.
        inputs: What each of them is given.
    """
    order = range(len(calls))
    for index, value in enumerate(inputs):
        turn = index % len(calls)
        taken = {which: _milliseconds(device, calls[which], value) for which in (*order[turn:], *order[:turn])}
        yield tuple(taken[which] for which in order)


def median_ratio(
    device: torch.device, first: Callable[[Input], object], second: Callable[[Input], object], inputs: Iterable[Input]
) -> float:
    """How many times as long as ``first`` the computation ``second`` takes, as the median over at least one input."""
    return float(np.median([two / one for one, two in timed_in_turn(device, (first, second), inputs)]))


def _milliseconds(device: torch.device, call: Callable[[Input], object], value: Input) -> float:
    # The result is held until the clock has stopped: freeing it is not part of the computation.
    if device.type != "cuda":
        started = time.perf_counter()
        _result = call(value)
        return (time.perf_counter() - started) * 1e3
    torch.cuda.synchronize()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()  # type: ignore[no-untyped-call]
    _result = call(value)
    end.record()  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))


@dataclass(frozen=True)
class PairedTimes:
    """Times of N frames, in milliseconds.

    Attributes:
        plain: Times of the plain network, [N].
        defended: Times of the defended network on the same frames, [N].
        stages: Times of the defended network's stages; a stage that not every frame goes through has fewer than N.
        flagged: Number of frames that were flagged.
        tracked: Number of frames whose patch was known and removed in one pass.
        analyzed: Number of frames that were analyzed as a whole, and not only screened.
        engine: Times of the same frames on an inference engine, in turn with these; None where none was measured.
    """

    plain: Sequence[float]
    defended: Sequence[float]
    stages: Mapping[str, Sequence[float]]
    flagged: int
    tracked: int = 0
    analyzed: int = 0
    engine: PairedTimes | None = None

    @property
    def twice(self) -> int:
        """Number of frames that were segmented twice, flagged or as a precaution."""
        return len(self.stages.get("second pass", ()))

    @property
    def ratio(self) -> Quartiles:
        """Defended over plain, frame by frame."""
        return self.to_plain(self.defended)

    def to_plain(self, times: Sequence[float]) -> Quartiles:
        """Times of the same frames, [N], over those of the plain network, frame by frame."""
        return Quartiles.of([time / plain for time, plain in zip(times, self.plain, strict=True)])

    @property
    def mean_ratio(self) -> float:
        """Total time of the defended network over that of the plain one: rare frames count by what they cost."""
        return sum(self.defended) / sum(self.plain)

    @property
    def stage_medians(self) -> dict[str, float]:
        """Median of each stage over the frames that go through it."""
        return {name: Quartiles.of(times).median for name, times in self.stages.items()}


@dataclass(frozen=True)
class Contender:
    """A network and its defense.

    Attributes:
        segmenter: The network.
        defend: A normalized image to what the defense says of it: a `Defense`, or `streaming_defend`.
    """

    segmenter: Segmenter
    defend: Defend


def time_pairs(
    segmenter: Segmenter,
    defend: Defend,
    images: Sequence[np.ndarray],
    advance: Advance = no_advance,
    engine: Contender | None = None,
) -> PairedTimes:
    """Time the plain and the defended network on each of ``images``, uint8 [H, W, 3] RGB, in their order.

    Args:
        segmenter: The network.
        defend: A normalized image to what the defense says of it: a `Defense`, or `streaming_defend`.
        images: The images; each is one step of ``advance``.
        advance: Counts images.
        engine: The same network and defense on an engine, timed in turn with them.

    Raises:
        ZmaskError: There are no images.
    """
    if not images:
        raise ZmaskError("There are no frames to time: ask for at least one.")

    timed = [_Timed(own) for own in (Contender(segmenter, defend), *(() if engine is None else (engine,)))]
    calls = [call for own in timed for call in (own.plain, own.defended)]
    for index in range(WARM_UP):
        for call in calls:
            call(images[index % len(images)])
    for own in timed:
        own.held.clear()
    for times in timed_in_turn(segmenter.device, calls, images):
        for number, own in enumerate(timed):
            own.take(times[2 * number], times[2 * number + 1])
        advance()
    result, *others = (own.times() for own in timed)
    return replace(result, engine=others[0]) if others else result


class _Timed:
    """One contender while it is timed."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        # Taken out between two measurements: freeing an old result is not timed.
        self.held: list[tuple[float, DefenseResult]] = []
        self._milliseconds: list[tuple[float, float]] = []
        self._stages: dict[str, list[float]] = {}
        self._counts = np.zeros(3, int)

    def plain(self, image: np.ndarray) -> object:
        with one_thread_beside(self._contender.segmenter.network):
            return plain_labels(self._contender.segmenter, image)

    def defended(self, image: np.ndarray) -> None:
        with one_thread_beside(self._contender.segmenter.network):
            started = time.perf_counter()
            x = self._contender.segmenter.prepare(image)
            self.held.append(((time.perf_counter() - started) * 1e3, self._contender.defend(x)))

    def take(self, plain_ms: float, defended_ms: float) -> None:
        """Keep the times of a frame, and what was said of it."""
        prepare_ms, outcome = self.held.pop()
        self._milliseconds.append((plain_ms, defended_ms))
        self._counts += [bool(outcome.flagged[0]), bool(outcome.tracked[0]), bool(outcome.fully_analyzed[0])]
        for name, value in ({"prepare": prepare_ms} | outcome.stages_ms).items():
            self._stages.setdefault(name, []).append(value)

    def times(self) -> PairedTimes:
        plain_ms, defended_ms = zip(*self._milliseconds, strict=True)
        return PairedTimes(plain_ms, defended_ms, self._stages, *self._counts.tolist())


def streaming_defend(
    defense: Defense, rate_hz: float, keyframe_interval_s: float, state: CameraState | None = None
) -> Defend:
    """A defense in streaming mode that is given the frames of one camera at this rate, from 0 on.

    Args:
        defense: the whole analysis.
        rate_hz: of the camera.
        keyframe_interval_s: of streaming mode.
        state: of the camera at 0; None: there was no frame before.
    """
    streaming, now_ns = StreamingDefense(defense, keyframe_interval_s), 0
    current = state or CameraState()

    def defend(x: Tensor) -> DefenseResult:
        nonlocal current, now_ns
        now_ns += round(1e9 / rate_hz)
        defended, (current,) = streaming.step(x, [current], [now_ns])
        return defended

    return defend


@torch.inference_mode()
def plain_labels(segmenter: Segmenter, image: np.ndarray) -> Tensor:
    """The undefended network's labels, uint8 [1, h, w]."""
    return labels_of(segmenter.scores(segmenter.prepare(image)), segmenter.input_size)

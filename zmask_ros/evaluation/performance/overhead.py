"""What the defence costs: plain and defended network on the same frames, one right after the other.

Both are timed from the camera's image to labels at the network's resolution. Machines change their pace from second to
second, so only the two times of one frame are compared, and the median of these ratios counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense import (
    ActivationTaps,
    CameraState,
    Defense,
    DefenseResult,
    Evidence,
    Profile,
    StreamingDefense,
)
from zmask_ros.defense.analyzer import LayerEvidence
from zmask_ros.defense.evidence.overactivation import Activations
from zmask_ros.errors import ZmaskError
from zmask_ros.segmenters import Segmenter

WARM_UP = 5
T = TypeVar("T")


@dataclass(frozen=True)
class Quartiles:
    """Lower quartile, median and upper quartile."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Quartiles:
        """Those of ``values``, at least one."""
        low, median, high = np.percentile(values, [25, 50, 75])
        return Quartiles(float(low), float(median), float(high))


@dataclass(frozen=True)
class PairedTimes:
    """Times of N frames, in milliseconds.

    Attributes:
        plain: of the plain network, [N].
        defended: of the defended network on the same frames, [N].
        stages: of the defended network's stages; a stage that not every frame goes through has fewer than N.
        flagged: number of frames that were flagged.
        tracked: number of those whose patch was known and taken out in one pass.
        analysed: number of frames that were analysed as a whole, and not left at a glance.
    """

    plain: tuple[float, ...]
    defended: tuple[float, ...]
    stages: dict[str, tuple[float, ...]]
    flagged: int
    tracked: int = 0
    analysed: int = 0

    @property
    def twice(self) -> int:
        """Number of frames that were segmented twice, flagged or as a precaution."""
        return len(self.stages.get("second pass", ()))

    @property
    def ratio(self) -> Quartiles:
        """Defended over plain, frame by frame."""
        return Quartiles.of([d / p for d, p in zip(self.defended, self.plain, strict=True)])

    @property
    def mean_ratio(self) -> float:
        """All that the defended network took over all that the plain one took: rare frames count as they cost."""
        return sum(self.defended) / sum(self.plain)

    @property
    def stage_medians(self) -> dict[str, float]:
        """Median of each stage over the frames that go through it."""
        return {name: Quartiles.of(times).median for name, times in self.stages.items()}


Defend = Callable[[Tensor], DefenseResult]


def time_pairs(
    segmenter: Segmenter,
    defend: Defend,
    images: Sequence[np.ndarray],
    advance: Callable[[], None] = lambda: None,
) -> PairedTimes:
    """Time the plain and the defended network on each of ``images``, uint8 [H, W, 3] RGB, in their order.

    Which of the two goes first changes from frame to frame, so that neither always finds warm caches.

    Args:
        defend: a normalised image to what the defence says of it: a `Defense`, or a `following` one.
        advance: called after each image.

    Raises:
        ZmaskError: there are no images.
    """
    if not images:
        raise ZmaskError("There are no frames to time: ask for at least one.")
    clock = _Clock(segmenter.device)
    for index in range(WARM_UP):
        image = images[index % len(images)]
        plain_labels(segmenter, image)
        _defend(segmenter, defend, image)
    plain, defended, flagged, tracked, analysed = [], [], 0, 0, 0
    stages: dict[str, list[float]] = {}
    for index, image in enumerate(images):
        if index % 2 == 0:
            plain.append(clock.time(partial(plain_labels, segmenter, image))[1])
        (prepare_ms, outcome), milliseconds = clock.time(partial(_defend, segmenter, defend, image))
        if index % 2 == 1:
            plain.append(clock.time(partial(plain_labels, segmenter, image))[1])
        defended.append(milliseconds)
        flagged += int(outcome.flagged[0])
        tracked += int(outcome.tracked[0])
        analysed += int(outcome.fully_analyzed[0])
        for name, value in ({"prepare": prepare_ms} | outcome.stages_ms).items():
            stages.setdefault(name, []).append(value)
        advance()
    times = {name: tuple(values) for name, values in stages.items()}
    return PairedTimes(tuple(plain), tuple(defended), times, flagged, tracked, analysed)


def following(defense: Defense, rate_hz: float, keyframe_interval_s: float) -> Defend:
    """A defence in streaming mode, to which one camera's frames come at this rate."""
    streaming, state, now_ns = StreamingDefense(defense, keyframe_interval_s), CameraState(), 0

    def defend(x: Tensor) -> DefenseResult:
        nonlocal state, now_ns
        now_ns += round(1e9 / rate_hz)
        defended, (state,) = streaming.step(x, [state], [now_ns])
        return defended

    return defend


def batch_gain(defense: Defense, x: Tensor, repeats: int) -> float:
    """How many times as many frames a second a batch ``x`` [B, 3, h, w] gives as its images one by one; median."""
    clock, gains = _Clock(x.device), []
    for _ in range(repeats + 1):
        together = clock.time(partial(defense, x))[1]
        apart = clock.time(lambda: [defense(image) for image in x.split(1)])[1]
        gains.append(apart / together)
    return float(np.median(gains[1:]))


Analyze = Callable[[Profile, Activations], Evidence]


def slower_factor(segmenter: Segmenter, profile: Profile, x: Tensor, analyze: Analyze, repeats: int) -> float:
    """How many times longer than our analysis ``analyse`` takes for the normalised image ``x`` [1, 3, h, w]; median.

    Both without an evidence head, and on the activations of the same pass, if ``analyse`` wants them.
    """
    plain = profile.without_head()
    detector = plain.detector
    ours = LayerEvidence(detector.shallow, detector.deep, detector.statistics, plain.grid)
    clock, factors = _Clock(x.device), []
    ours = ours.to(x.device)
    with torch.inference_mode(), ActivationTaps(segmenter.network, plain.layers) as taps:
        segmenter.logits(x)
        kept = {layer: taps[layer] for layer in plain.layers}
        ours(kept)
        for _ in range(repeats):
            fast = clock.time(partial(ours, kept))[1]
            factors.append(clock.time(partial(analyze, plain, kept))[1] / fast)
    return float(np.median(factors))


@torch.inference_mode()
def plain_labels(segmenter: Segmenter, image: np.ndarray) -> Tensor:
    """The undefended network's labels, uint8 [1, h, w]."""
    return segmenter.logits(segmenter.prepare(image)).argmax(1).to(torch.uint8)


def _defend(segmenter: Segmenter, defend: Defend, image: np.ndarray) -> tuple[float, DefenseResult]:
    began = time.perf_counter()
    x = segmenter.prepare(image)
    prepare_ms = (time.perf_counter() - began) * 1e3
    return prepare_ms, defend(x)


class _Clock:
    """Milliseconds of a call: wall clock on the CPU, events in the stream on CUDA."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"

    def time(self, call: Callable[[], T]) -> tuple[T, float]:
        return self._time_cuda(call) if self._cuda else self._time_cpu(call)

    @staticmethod
    def _time_cpu(call: Callable[[], T]) -> tuple[T, float]:
        began = time.perf_counter()
        result = call()
        return result, (time.perf_counter() - began) * 1e3

    @staticmethod
    def _time_cuda(call: Callable[[], T]) -> tuple[T, float]:
        torch.cuda.synchronize()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()  # type: ignore[no-untyped-call]
        result = call()
        end.record()  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        return result, float(start.elapsed_time(end))

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

from zmask_ros.defense import Defended, Defense
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
        flagged: number of frames that were flagged, and so segmented twice.
    """

    plain: tuple[float, ...]
    defended: tuple[float, ...]
    stages: dict[str, tuple[float, ...]]
    flagged: int

    @property
    def ratio(self) -> Quartiles:
        """Defended over plain, frame by frame."""
        return Quartiles.of([d / p for d, p in zip(self.defended, self.plain, strict=True)])

    @property
    def stage_medians(self) -> dict[str, float]:
        """Median of each stage over the frames that go through it."""
        return {name: Quartiles.of(times).median for name, times in self.stages.items()}


def time_pairs(
    segmenter: Segmenter,
    defense: Defense,
    images: Sequence[np.ndarray],
    advance: Callable[[], None] = lambda: None,
) -> PairedTimes:
    """Time both on each of ``images``, uint8 [H, W, 3] RGB; calls ``advance`` after each image.

    Which of the two goes first changes from frame to frame, so that neither always finds warm caches.

    Raises:
        ZmaskError: there are no images.
    """
    if not images:
        raise ZmaskError("There are no frames to time: ask for at least one.")
    clock = _Clock(segmenter.device)
    for index in range(WARM_UP):
        image = images[index % len(images)]
        plain_labels(segmenter, image)
        _defend(segmenter, defense, image)
    plain, defended, flagged = [], [], 0
    stages: dict[str, list[float]] = {}
    for index, image in enumerate(images):
        if index % 2 == 0:
            plain.append(clock.time(partial(plain_labels, segmenter, image))[1])
        (prepare_ms, outcome), milliseconds = clock.time(partial(_defend, segmenter, defense, image))
        if index % 2 == 1:
            plain.append(clock.time(partial(plain_labels, segmenter, image))[1])
        defended.append(milliseconds)
        flagged += int(outcome.flagged[0])
        for name, value in ({"prepare": prepare_ms} | outcome.stages_ms).items():
            stages.setdefault(name, []).append(value)
        advance()
    return PairedTimes(tuple(plain), tuple(defended), {k: tuple(v) for k, v in stages.items()}, flagged)


@torch.inference_mode()
def plain_labels(segmenter: Segmenter, image: np.ndarray) -> Tensor:
    """The undefended network's labels, uint8 [1, h, w]."""
    return segmenter.logits(segmenter.prepare(image)).argmax(1).to(torch.uint8)


def _defend(segmenter: Segmenter, defense: Defense, image: np.ndarray) -> tuple[float, Defended]:
    began = time.perf_counter()
    x = segmenter.prepare(image)
    prepare_ms = (time.perf_counter() - began) * 1e3
    return prepare_ms, defense(x)


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

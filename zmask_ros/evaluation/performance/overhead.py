"""What the defense costs: the plain and the defended network in turn on the same frames.

Both are timed from the camera's image to labels at the network's resolution; the median of the ratios counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
from zmask_ros.evaluation.performance.timing import Quartiles, median_ratio, timed_in_turn
from zmask_ros.progress import Advance, no_advance
from zmask_ros.segmenters import Segmenter

WARM_UP = 5


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
    """

    plain: tuple[float, ...]
    defended: tuple[float, ...]
    stages: dict[str, tuple[float, ...]]
    flagged: int
    tracked: int = 0
    analyzed: int = 0

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
        """Total time of the defended network over that of the plain one: rare frames count by what they cost."""
        return sum(self.defended) / sum(self.plain)

    @property
    def stage_medians(self) -> dict[str, float]:
        """Median of each stage over the frames that go through it."""
        return {name: Quartiles.of(times).median for name, times in self.stages.items()}


Defend = Callable[[Tensor], DefenseResult]


def time_pairs(
    segmenter: Segmenter, defend: Defend, images: Sequence[np.ndarray], advance: Advance = no_advance
) -> PairedTimes:
    """Time the plain and the defended network on each of ``images``, uint8 [H, W, 3] RGB, in their order.

    Args:
        segmenter: The network.
        defend: A normalized image to what the defense says of it: a `Defense`, or `streaming_defend`.
        images: The images; each is one step of ``advance``.
        advance: Counts images.

    Raises:
        ZmaskError: There are no images.
    """
    if not images:
        raise ZmaskError("There are no frames to time: ask for at least one.")

    def plain(image: np.ndarray) -> Tensor:
        return plain_labels(segmenter, image)

    def defended(image: np.ndarray) -> tuple[float, DefenseResult]:
        started = time.perf_counter()
        x = segmenter.prepare(image)
        prepare_ms = (time.perf_counter() - started) * 1e3
        return prepare_ms, defend(x)

    for index in range(WARM_UP):
        image = images[index % len(images)]
        plain(image)
        defended(image)
    plain_ms, defended_ms, outcomes = [], [], []
    stages: dict[str, list[float]] = {}
    for one, two in timed_in_turn(segmenter.device, plain, defended, images):
        prepare_ms, outcome = two.result
        plain_ms.append(one.milliseconds)
        defended_ms.append(two.milliseconds)
        outcomes.append((bool(outcome.flagged[0]), bool(outcome.tracked[0]), bool(outcome.fully_analyzed[0])))
        for name, value in ({"prepare": prepare_ms} | outcome.stages_ms).items():
            stages.setdefault(name, []).append(value)
        advance()
    flagged, tracked, analyzed = (sum(column) for column in zip(*outcomes, strict=True))
    times = {name: tuple(values) for name, values in stages.items()}
    return PairedTimes(tuple(plain_ms), tuple(defended_ms), times, flagged, tracked, analyzed)


def streaming_defend(defense: Defense, rate_hz: float, keyframe_interval_s: float) -> Defend:
    """A defense in streaming mode that is given the frames of one camera at this rate."""
    streaming, state, now_ns = StreamingDefense(defense, keyframe_interval_s), CameraState(), 0

    def defend(x: Tensor) -> DefenseResult:
        nonlocal state, now_ns
        now_ns += round(1e9 / rate_hz)
        defended, (state,) = streaming.step(x, [state], [now_ns])
        return defended

    return defend


def batch_gain(defense: Defense, x: Tensor, repeats: int) -> float:
    """How many times as many frames a second a batch ``x`` [B, 3, h, w] gives as its images one by one; median."""

    def one_by_one(batch: Tensor) -> list[DefenseResult]:
        return [defense(image) for image in batch.split(1)]

    defense(x)
    one_by_one(x)
    return median_ratio(x.device, defense, one_by_one, [x] * repeats)


Analyze = Callable[[Profile, Activations], Evidence]


def slowdown(segmenter: Segmenter, profile: Profile, x: Tensor, analyze: Analyze, repeats: int) -> float:
    """How many times longer than our analysis ``analyze`` takes for the normalized image ``x`` [1, 3, h, w]; median.

    Both run without an evidence head, and on the activations of the same pass, if ``analyze`` wants them.
    """
    plain = profile.without_head()
    detector = plain.detector
    ours = LayerEvidence(detector.shallow, detector.deep, detector.statistics, plain.grid).to(x.device)
    with torch.inference_mode(), ActivationTaps(segmenter.network, plain.layers) as taps:
        segmenter.logits(x)
        kept = {layer: taps[layer] for layer in plain.layers}
        ours(kept)
        return median_ratio(x.device, ours, lambda activations: analyze(plain, activations), [kept] * repeats)


@torch.inference_mode()
def plain_labels(segmenter: Segmenter, image: np.ndarray) -> Tensor:
    """The undefended network's labels, uint8 [1, h, w]."""
    return segmenter.logits(segmenter.prepare(image)).argmax(1).to(torch.uint8)

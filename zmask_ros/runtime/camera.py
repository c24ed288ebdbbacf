"""One camera's frames through the defense: message in, result at the image's own resolution out.

The node, `zmask replay`, the evaluation and the tests all walk this way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense import (
    KEYFRAME_INTERVAL_S,
    CameraState,
    Defense,
    DefenseResult,
    Profile,
    StreamingDefense,
    masked_labels,
)
from zmask_ros.defense.drift.observation import OBSERVED_EVERY, ChannelMeans, DriftState
from zmask_ros.defense.drift.reference import DriftMeter
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.drift import Drift
from zmask_ros.flags.flag import FrameState, FrameVerdict, Region, verdict_reason
from zmask_ros.io.images.codec import AUTO_BITS, decode
from zmask_ros.io.images.nearest import resize_nearest
from zmask_ros.io.images.remarks import remark, visibility_remark
from zmask_ros.io.stamps import stamp_ns
from zmask_ros.segmenters import CheckedSegmenter, Segmenter
from zmask_ros.segmenters.engine.network import one_thread_beside

MOST_REGIONS = 16
NOT_OBSERVED = "no clean frame was observed"


@dataclass(frozen=True)
class Pictures:
    """What can be looked at, at the image's own resolution H x W.

    Attributes:
        image: uint8 [H, W, 3] RGB, as it came.
        labels: uint8 [H, W], the defended segmentation.
        mask: uint8 [H, W], 255 where masked, else 0.
        heat: float32 [H, W], over-activation H_D H_S M, at least 0.
        before: makes `undefended`.
    """

    image: np.ndarray
    labels: np.ndarray
    mask: np.ndarray
    heat: np.ndarray
    before: Callable[[], np.ndarray]

    @cached_property
    def undefended(self) -> np.ndarray:
        """uint8 [H, W], what the network said before masking; worked out when it is asked for."""
        return self.before()


@dataclass(frozen=True)
class CameraResult(FrameVerdict):
    """What the defense says of one frame, with what is needed to draw it.

    Of its regions there are at most `MOST_REGIONS`; a stage that a batch did together counts for each frame of it.

    Attributes:
        pictures: None if the state is UNKNOWN.
        tracked: whether a patch that was known already was taken out in the one pass; of such a frame there is no
            undefended segmentation, and the defended one stands in its place.
        analyzed: whether it was analyzed as a whole; in streaming mode, most clean frames see the screening alone.
        drift: how far its camera is from the profile, this frame included; None where the camera has no memory, or the
            state is UNKNOWN.
    """

    pictures: Pictures | None = None
    tracked: bool = False
    analyzed: bool = False
    drift: Drift | None = None


@dataclass
class CameraStream:
    """The memory of one camera; each of its frames changes it.

    Attributes:
        state: of streaming mode; None: every frame is analyzed as a whole.
        observed: how its clean frames look to the network.
        drift: how far that is from the profile.
    """

    state: CameraState | None = field(default_factory=CameraState)
    observed: DriftState = field(default_factory=DriftState)
    drift: Drift = field(default_factory=lambda: Drift(reason=NOT_OBSERVED))


@dataclass(frozen=True)
class _Frame:
    """An image with what becomes of it on the way.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        remark: what limits what can be seen in it, or nothing.
        stages_ms: the milliseconds of each stage so far.
        stream: its camera's memory.
        stamp_ns: when it was taken.
    """

    image: np.ndarray
    remark: str
    stages_ms: dict[str, float]
    stream: CameraStream | None = None
    stamp_ns: int = 0


class DefendedCamera:
    """The defense for frames of cameras; its thresholds are those of `defense`, and may be changed at any time.

    Args:
        segmenter: the network.
        profile: must have been fitted on that network.
        keyframe_interval_s: in streaming mode, seconds after which a frame is analyzed as a whole again.
        observed_every: each so many-th frame of a camera with a memory is observed, to tell whether the profile fits;
            0: none is.

    Raises:
        ProfileError: the profile belongs to something else.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        profile: Profile,
        keyframe_interval_s: float = KEYFRAME_INTERVAL_S,
        observed_every: int = OBSERVED_EVERY,
    ) -> None:
        self.segmenter = CheckedSegmenter(**vars(segmenter))
        self.defense = Defense(self.segmenter, profile)
        self._streaming = StreamingDefense(self.defense, keyframe_interval_s)
        self._observed_every = observed_every
        self._drift_meter = DriftMeter(profile.drift, profile.detector.fitted_statistics)
        self._channel_means = ChannelMeans(self.segmenter.network, self._drift_meter.layers)

    def unknown(self, reason: str) -> CameraResult:
        """The result for a frame that could not be analyzed."""
        thresholds = self.defense.thresholds
        return CameraResult(FrameState.UNKNOWN, thresholds.attack, thresholds.masking, reason)

    def process(
        self, message: Any, stream: CameraStream | None = None, significant_bits: int = AUTO_BITS
    ) -> CameraResult:
        """Defend one ``sensor_msgs`` Image or CompressedImage; bad input gives UNKNOWN with the reason."""
        return self.process_batch([message], [stream], [significant_bits])[0]

    def process_batch(
        self,
        messages: Sequence[Any],
        streams: Sequence[CameraStream | None] | None = None,
        significant_bits: Sequence[int] | None = None,
    ) -> list[CameraResult]:
        """Defend several messages, which may differ in size, in one pass; a result for each, in their order.

        Args:
            messages: one a camera.
            streams: the cameras' memories; without streaming mode in all of them every frame is analyzed as a whole.
            significant_bits: of each camera, as `zmask_ros.io.images.codec.decode` takes them.
        """
        count = len(messages)
        given = zip(messages, streams or [None] * count, significant_bits or [AUTO_BITS] * count, strict=True)
        results: dict[int, CameraResult] = {}
        frames: dict[int, _Frame] = {}
        for index, (message, stream, bits) in enumerate(given):
            began = time.perf_counter()
            try:
                image, stamp = decode(message, bits), stamp_ns(message.header) if stream is not None else 0
                said = remark(message, image, bits)
                frames[index] = _Frame(image, said, {"decode": _milliseconds_since(began)}, stream, stamp)
            except ZmaskError as error:
                results[index] = self.unknown(str(error))
        if frames:
            results |= zip(frames, self._defend(list(frames.values())), strict=True)
        return [results[index] for index in range(count)]

    def process_image(self, image: np.ndarray, stream: CameraStream | None = None, stamp_ns: int = 0) -> CameraResult:
        """Defend one image, uint8 [H, W, 3] RGB, that was taken at this time."""
        return self._defend([_Frame(image, visibility_remark(image), {}, stream, stamp_ns)])[0]

    def masked_labels(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """`labels_without` of this camera's network."""
        return labels_without(self.segmenter, image, mask)

    def _defend(self, frames: list[_Frame]) -> list[CameraResult]:
        with one_thread_beside(self.segmenter.network, len(frames)):
            return self._defend_together(frames)

    def _defend_together(self, frames: list[_Frame]) -> list[CameraResult]:
        inputs = [self._prepare(frame) for frame in frames]
        self.segmenter.finite.clear()
        due = [frame.stream is not None and frame.stream.observed.due(self._observed_every) for frame in frames]
        with self._channel_means if any(due) else nullcontext():
            defended, remember = self._step(frames, torch.cat(inputs))
        if all(bool(check) for check in self.segmenter.finite):
            remember()
            results = [self._result(frame, defended, index) for index, frame in enumerate(frames)]
            return [self._observe(*frame, index) for index, frame in enumerate(zip(frames, results, due, strict=True))]
        if len(frames) == 1:
            return [self.unknown("the network's output is not finite on this frame")]
        # One frame's fault is not another's.
        return [self._defend([frame])[0] for frame in frames]

    def _observe(self, frame: _Frame, result: CameraResult, due: bool, index: int) -> CameraResult:
        """The result with the drift of its camera, which remembers how a clean frame looked that was ``due``."""
        stream = frame.stream
        if stream is None:
            return result
        if due and _is_clean(result):
            stream.observed = stream.observed.observed(self._channel_means.frame(index))
            stream.drift = self._drift_meter(stream.observed)
        else:
            stream.observed = stream.observed.passed()
        return replace(result, drift=stream.drift)

    def _step(self, frames: list[_Frame], x: Tensor) -> tuple[DefenseResult, Callable[[], None]]:
        """What is said of the frames, and what makes their cameras remember it."""
        streams = [(frame.stream, frame.stream.state) for frame in frames if frame.stream is not None]
        states = [state for _, state in streams if state is not None]
        if len(states) < len(frames):
            return self.defense(x), lambda: None
        stamps = [frame.stamp_ns for frame in frames]
        defended, after = self._streaming.step(x, states, stamps)

        def remember() -> None:
            for (stream, _), state in zip(streams, after, strict=True):
                stream.state = state

        return defended, remember

    def _prepare(self, frame: _Frame) -> Tensor:
        began = time.perf_counter()
        x = self.segmenter.prepare(frame.image)
        frame.stages_ms["prepare"] = _milliseconds_since(began)
        return x

    def _result(self, frame: _Frame, defended: DefenseResult, index: int) -> CameraResult:
        began = time.perf_counter()
        score = float(defended.analysis.score[index])
        if not math.isfinite(score):
            return self.unknown("the network's activations are not finite on this frame")
        pictures = _pictures(frame.image, defended, index)
        regions = _regions(pictures)
        attacked = bool(defended.flagged[index])
        return CameraResult(
            state=FrameState.ATTACK if attacked else FrameState.CLEAN,
            reason=verdict_reason(bool(regions) and not attacked, frame.remark),
            threshold=defended.thresholds.attack,
            masking_threshold=defended.thresholds.masking,
            score=score,
            mask_fraction=float(np.count_nonzero(pictures.mask) / pictures.mask.size) if regions else 0.0,
            regions=regions,
            pictures=pictures,
            stages_ms={**frame.stages_ms, **defended.stages_ms, "resize": _milliseconds_since(began)},
            tracked=bool(defended.tracked[index]),
            analyzed=defended.fully_analyzed[index],
        )


def _is_clean(result: CameraResult) -> bool:
    """Whether nothing in it speaks of a patch: then it says how the camera's clean frames look."""
    return result.state is FrameState.CLEAN and not result.tracked and not result.regions


def _milliseconds_since(began: float) -> float:
    return (time.perf_counter() - began) * 1e3


def _pictures(image: np.ndarray, defended: DefenseResult, index: int) -> Pictures:
    size = (image.shape[1], image.shape[0])
    heat = cv2.resize(defended.analysis.heat[index, 0].float().cpu().numpy(), size, interpolation=cv2.INTER_LINEAR)
    suspicious, labels = bool(defended.suspicious[index]), at_size(defended.labels[index], image)
    # All of the defense's result that is held on to.
    first = defended.first
    return Pictures(
        image=image,
        labels=labels,
        mask=at_size(defended.mask[index].byte() * 255, image) if suspicious else np.zeros(image.shape[:2], np.uint8),
        heat=heat,
        before=(lambda: at_size(first.labels[index], image)) if suspicious else lambda: labels,
    )


def labels_without(segmenter: Segmenter, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The segmentation with a known region masked: what the defense gives whose mask is exact (the oracle).

    Args:
        image: uint8 [H, W, 3] RGB.
        mask: bool [H, W].

    Returns:
        uint8 [H, W] labels.
    """
    x, hidden = segmenter.prepare(image), torch.from_numpy(resize_nearest(mask, segmenter.input_size))
    return at_size(masked_labels(segmenter, x, hidden[None, None].to(x))[0], image)


def at_size(plane: Tensor, image: np.ndarray) -> np.ndarray:
    """uint8 [h, w] at the size of ``image``, by the nearest pixel."""
    height, width = image.shape[:2]
    return resize_nearest(plane.cpu().numpy(), (height, width))


def _regions(pictures: Pictures) -> tuple[Region, ...]:
    if not pictures.mask.any():
        return ()
    count, parts, boxes, _ = cv2.connectedComponentsWithStats(pictures.mask, connectivity=8)
    # The first part is all that is not masked.
    largest = sorted(range(1, count), key=lambda part: -boxes[part, cv2.CC_STAT_AREA])[:MOST_REGIONS]
    regions = []
    for part in largest:
        x, y, width, height, area = (int(value) for value in boxes[part])
        box = np.s_[y : y + height, x : x + width]
        score = cv2.mean(pictures.heat[box], np.uint8(parts[box] == part))[0]
        regions.append(Region(x, y, width, height, score, area / pictures.mask.size))
    return tuple(regions)

"""One camera's frames through the defence: message in, result at the image's own resolution out.

The node, `zmask replay`, the evaluation and the tests all walk this way.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense import Defended, Defense, Profile, masked_labels
from zmask_ros.errors import ZmaskError
from zmask_ros.segmenters import Segmenter
from zmask_ros.world.images import decode


class FrameState(str, Enum):
    """What is known of a frame; the names are those of ``zmask_ros/AttackFlag``."""

    UNKNOWN = "UNKNOWN"
    CLEAN = "CLEAN"
    ATTACK = "ATTACK"


@dataclass(frozen=True)
class Region:
    """A rectangle in the image, in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Pictures:
    """What can be looked at, at the image's own resolution H x W.

    Attributes:
        image: uint8 [H, W, 3] RGB, as it came.
        labels: uint8 [H, W], the defended segmentation.
        undefended: uint8 [H, W], what the network said before masking.
        mask: uint8 [H, W], 255 where masked, else 0.
        heat: float32 [H, W], over-activation H_D H_S M, at least 0.
    """

    image: np.ndarray
    labels: np.ndarray
    undefended: np.ndarray
    mask: np.ndarray
    heat: np.ndarray


@dataclass(frozen=True)
class CameraResult:
    """What the defence says of one frame.

    Attributes:
        state: UNKNOWN unless the frame went through the whole analysis.
        threshold: the score above which a frame is called attacked.
        reason: why the state is UNKNOWN, in one sentence; else empty.
        score: s, at least 0; NaN if unknown.
        mask_fraction: share of the image that is masked, 0..1.
        region: bounding box of the mask; None if nothing is masked.
        pictures: None if unknown.
        stages_ms: time of each stage in milliseconds, in order.
    """

    state: FrameState
    threshold: float
    reason: str = ""
    score: float = math.nan
    mask_fraction: float = 0.0
    region: Region | None = None
    pictures: Pictures | None = None
    stages_ms: dict[str, float] = field(default_factory=dict)

    @property
    def total_ms(self) -> float:
        """Time of all stages in milliseconds."""
        return sum(self.stages_ms.values())


class DefendedCamera:
    """The defence for a stream of frames of one camera.

    Args:
        segmenter: the network.
        profile: must have been fitted on that network.

    Raises:
        ProfileError: the profile belongs to something else.
    """

    def __init__(self, segmenter: Segmenter, profile: Profile) -> None:
        self.segmenter = segmenter
        self.defense = Defense(segmenter, profile)

    @property
    def threshold(self) -> float:
        """The score above which a frame is called attacked; may be changed at any time."""
        return self.defense.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self.defense.threshold = value

    def unknown(self, reason: str) -> CameraResult:
        """The result for a frame that could not be analysed."""
        return CameraResult(FrameState.UNKNOWN, self.threshold, reason)

    def process(self, message: Any) -> CameraResult:
        """Defend one ``sensor_msgs`` Image or CompressedImage; bad input gives UNKNOWN with the reason."""
        began = time.perf_counter()
        try:
            image = decode(message)
        except ZmaskError as error:
            return self.unknown(str(error))
        return self._defend(image, {"decode": _milliseconds_since(began)})

    def process_image(self, image: np.ndarray) -> CameraResult:
        """Defend one image, uint8 [H, W, 3] RGB."""
        return self._defend(image, {})

    def masked_labels(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """`labels_without` of this camera's network."""
        return labels_without(self.segmenter, image, mask)

    def _defend(self, image: np.ndarray, stages: dict[str, float]) -> CameraResult:
        began = time.perf_counter()
        x = self.segmenter.prepare(image)
        stages["prepare"] = _milliseconds_since(began)
        defended = self.defense(x)
        stages |= defended.stages_ms
        began = time.perf_counter()
        pictures = _pictures(image, defended)
        score = float(defended.analysis.score[0])
        stages["resize"] = _milliseconds_since(began)
        if not math.isfinite(score):
            return self.unknown("the network's activations are not finite on this frame")
        return CameraResult(
            state=FrameState.ATTACK if bool(defended.flagged[0]) else FrameState.CLEAN,
            threshold=defended.threshold,
            score=score,
            mask_fraction=np.count_nonzero(pictures.mask) / pictures.mask.size,
            region=_region(pictures.mask),
            pictures=pictures,
            stages_ms=stages,
        )


def _milliseconds_since(began: float) -> float:
    return (time.perf_counter() - began) * 1e3


def _pictures(image: np.ndarray, defended: Defended) -> Pictures:
    size = (image.shape[1], image.shape[0])
    heat = cv2.resize(defended.analysis.heat[0, 0].float().cpu().numpy(), size, interpolation=cv2.INTER_LINEAR)
    undefended = at_size(defended.undefended[0], image)
    flagged = bool(defended.flagged[0])
    return Pictures(
        image=image,
        labels=at_size(defended.labels[0], image) if flagged else undefended,
        undefended=undefended,
        mask=at_size(defended.mask[0].byte() * 255, image) if flagged else np.zeros(undefended.shape, np.uint8),
        heat=heat,
    )


def labels_without(segmenter: Segmenter, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The segmentation with a known region masked: what the defence gives whose mask is exact (the oracle).

    Args:
        image: uint8 [H, W, 3] RGB.
        mask: bool [H, W].

    Returns:
        uint8 [H, W] labels.
    """
    height, width = segmenter.input_size
    hidden = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    x = segmenter.prepare(image)
    return at_size(masked_labels(segmenter, x, torch.from_numpy(hidden)[None, None].to(x))[0], image)


def at_size(plane: Tensor, image: np.ndarray) -> np.ndarray:
    """uint8 [h, w] at the size of ``image``, by the nearest pixel."""
    resized = cv2.resize(plane.cpu().numpy(), (image.shape[1], image.shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized)


def _region(mask: np.ndarray) -> Region | None:
    x, y, width, height = cv2.boundingRect(mask)
    return Region(x, y, width, height) if width else None

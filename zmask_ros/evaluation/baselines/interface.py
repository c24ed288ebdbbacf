"""The interface of a baseline, and two of them: ours, and ours with a plain threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import torch

from zmask_ros.defense import Defense, Profile, masked_labels
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.metrics.records import Verdict
from zmask_ros.flags.flag import FrameState
from zmask_ros.progress import Advance, no_advance
from zmask_ros.runtime.camera import DefendedCamera, at_size
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.thresholds import clean_threshold


class Baseline(Protocol):
    """A defense, ours or another, as one row of an evaluation's tables.

    Attributes:
        threshold: The score above which it flags a frame.
    """

    threshold: float

    def process(self, image: np.ndarray) -> Verdict:
        """Score, mask and segment one image, uint8 [H, W, 3] RGB."""
        ...


@runtime_checkable
class LearningBaseline(Baseline, Protocol):
    """A baseline that learns what is clean before its threshold is set; its entry in `registry` has ``learns``."""

    def fit(self, images: Sequence[np.ndarray], advance: Advance = no_advance) -> None:
        """Learn from clean images, uint8 [H, W, 3] RGB; each is one step of ``advance``."""
        ...


class Ours:
    """Our defense as the node runs it, with the threshold of its profile."""

    def __init__(self, segmenter: Segmenter, profile: Profile) -> None:
        self._camera = DefendedCamera(segmenter, profile)

    @property
    def threshold(self) -> float:
        """The score above which a frame is flagged."""
        return self._camera.defense.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._camera.defense.threshold = value

    def process(self, image: np.ndarray) -> Verdict:
        """Score, mask and segment one image, uint8 [H, W, 3] RGB.

        Raises:
            ZmaskError: The image could not be analyzed.
        """
        result = self._camera.process_image(image)
        if (pictures := result.pictures) is None:
            raise ZmaskError(f"A frame could not be analysed: {result.reason}.")
        flagged = result.state is FrameState.ATTACK
        return Verdict(result.score, flagged, pictures.mask > 0, pictures.labels, pictures.undefended)


class PlainThreshold:
    """Ours without the fusion block: shallow heat H_S alone, masked where it is above one threshold.

    The score is the image's highest shallow heat, so that one threshold decides whether there is a patch and where.
    """

    def __init__(self, segmenter: Segmenter, profile: Profile) -> None:
        self.threshold = float("inf")
        self._segmenter, self._defense = segmenter, Defense(segmenter, profile)

    @torch.inference_mode()
    def process(self, image: np.ndarray) -> Verdict:
        """Score, mask and segment one image, uint8 [H, W, 3] RGB."""
        x = self._segmenter.prepare(image)
        logits, analysis = self._defense.analyze(x)
        heat = analysis.evidence.shallow
        undefended = at_size(logits.argmax(1)[0].byte(), image)
        score = float(heat.max())
        if score <= self.threshold:
            return Verdict.unmasked(undefended, score)
        grid = heat[0, 0].float().cpu().numpy()
        small = cv2.resize(grid, (x.shape[-1], x.shape[-2]), interpolation=cv2.INTER_NEAREST) > self.threshold
        hidden = torch.from_numpy(small)
        labels = masked_labels(self._segmenter, x, hidden[None, None].to(x))[0]
        return Verdict(score, True, at_size(hidden.byte(), image) > 0, at_size(labels, image), undefended)


@torch.inference_mode()
def segment(segmenter: Segmenter, image: np.ndarray) -> np.ndarray:
    """The network's own segmentation of an image, uint8 [H, W]."""
    return at_size(segmenter.logits(segmenter.prepare(image)).argmax(1)[0].byte(), image)


def set_threshold(
    baseline: Baseline, images: Sequence[np.ndarray], false_alarm_rate: float, advance: Advance = no_advance
) -> None:
    """Set ``baseline.threshold`` from clean images by the rule that sets a profile's own threshold.

    Args:
        baseline: Changed in place.
        images: Clean images, uint8 [H, W, 3] RGB, at least one; each is one step of ``advance``.
        false_alarm_rate: The share of clean frames that may be flagged, 0..1, exclusive.
    """
    baseline.threshold = float("inf")
    scores = []
    for image in images:
        scores.append(baseline.process(image).score)
        advance()
    baseline.threshold = clean_threshold(scores, false_alarm_rate).value

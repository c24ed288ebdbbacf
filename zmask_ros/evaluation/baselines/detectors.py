"""Other people's defences, as far as their papers describe them, for rows beside ours in the same run.

HN and FPDA are detectors only: they say whether, not where, so that the segmentation stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense import ActivationTaps, Moments
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.baselines.interface import segment
from zmask_ros.evaluation.metrics.records import Verdict
from zmask_ros.runtime.camera import at_size
from zmask_ros.segmenters import Segmenter

LIVING_SHARE = 1e-4
"""A feature that varies less than this share of the median one is constant, and has no z-score."""


class FeatureDetector:
    """Scores an image by the mean absolute z-score of one layer's features.

    Args:
        segmenter: the network.
        layer: a deep layer.
        features: turns the layer's activation [1, C, H, W] into features of any shape; each has a clean mean and
            deviation of its own.
        name: for tables.
    """

    def __init__(self, segmenter: Segmenter, layer: str, features: Callable[[Tensor], Tensor], name: str) -> None:
        self.name = name
        self.threshold = float("inf")
        self._segmenter = segmenter
        self._layer = layer
        self._features = features
        self._clean: Moments | None = None

    def fit(self, images: Sequence[np.ndarray], advance: Callable[[], None] = lambda: None) -> None:
        """Learn the clean range of every feature from at least two images; calls ``advance`` after each.

        Raises:
            ZmaskError: fewer images.
        """
        if len(images) < 2:
            raise ZmaskError(f"{self.name} learns from at least two clean frames, but there are {len(images)}.")
        for image in images:
            moments = Moments.of(self._run(image)[1][..., None])
            self._clean = moments if self._clean is None else self._clean.merge(moments)
            advance()

    def process(self, image: np.ndarray) -> Verdict:
        if self._clean is None:
            raise ZmaskError(f"{self.name} has not seen clean frames yet.")
        undefended, features = self._run(image)
        deviation = self._clean.std
        alive = deviation > LIVING_SHARE * deviation.median()
        z = (features.double().cpu() - self._clean.mean)[alive] / deviation[alive]
        score = float(z.abs().mean()) if z.numel() else 0.0
        nothing = np.zeros(undefended.shape, bool)
        return Verdict(score, score > self.threshold, nothing, undefended, undefended)

    @torch.inference_mode()
    def _run(self, image: np.ndarray) -> tuple[np.ndarray, Tensor]:
        with ActivationTaps(self._segmenter.network, (self._layer,)) as taps:
            logits = self._segmenter.logits(self._segmenter.prepare(image))
            features = self._features(taps[self._layer])
        return at_size(logits.argmax(1)[0].byte(), image), features


def hyperneuron(segmenter: Segmenter, layer: str) -> FeatureDetector:
    """HN (Co et al., 2021): the features of one deep layer against their clean range, every neuron for itself."""
    return FeatureDetector(segmenter, layer, lambda activation: activation, "HN")


def compressed(segmenter: Segmenter, layer: str) -> FeatureDetector:
    """FPDA, as compared with in Rossolini et al., AAAI 2023: the same on the layer's mean over its channels."""
    return FeatureDetector(segmenter, layer, lambda activation: activation.mean(1, keepdim=True), "FPDA")


class LocalGradientSmoothing:
    """LGS (Naseer et al., WACV 2019): where the image's gradients are dense, they are smoothed away, always.

    ``x' = x (1 - clip(strength * g, 0, 1))`` with g the gradient magnitude, brought to 0..1 over the image and kept
    only in overlapping windows whose mean exceeds ``density``. The score is the mean of the clipped factor.

    Args:
        segmenter: the network.
        window: side of the windows, in input pixels.
        overlap: of neighbouring windows, in input pixels, less than ``window``.
        density: mean gradient of a window that is smoothed, 0..1.
        strength: the paper's lambda, >= 0.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        window: int = 15,
        overlap: int = 5,
        density: float = 0.1,
        strength: float = 2.3,
    ) -> None:
        self.name = "LGS"
        self.threshold = float("inf")
        self._segmenter = segmenter
        self._window, self._step = window, window - overlap
        self._density, self._strength = density, strength

    def process(self, image: np.ndarray) -> Verdict:
        height, width = self._segmenter.input_size
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        suppressed = self.suppression(small)
        smooth = np.clip(small * (1 - suppressed[..., None]), 0, 255).round().astype(np.uint8)
        size = (image.shape[1], image.shape[0])
        labels = cv2.resize(segment(self._segmenter, smooth), size, interpolation=cv2.INTER_NEAREST)
        mask = cv2.resize((suppressed > 0.5).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        score = float(suppressed.mean())
        return Verdict(score, score > self.threshold, mask, np.asarray(labels), segment(self._segmenter, image))

    def suppression(self, image: np.ndarray) -> np.ndarray:
        """How much is taken away of each pixel of ``image``, uint8 [h, w, 3]: float64 [h, w] in 0..1."""
        grey = image.astype(np.float64).mean(2)
        down, right = np.diff(grey, axis=0, append=grey[-1:]), np.diff(grey, axis=1, append=grey[:, -1:])
        magnitude = np.hypot(down, right)
        spread = float(np.ptp(magnitude))
        gradient = (magnitude - magnitude.min()) / spread if spread else np.zeros_like(magnitude)
        return np.clip(self._strength * gradient * self._dense(gradient), 0, 1)

    def _dense(self, gradient: np.ndarray) -> np.ndarray:
        dense = np.zeros(gradient.shape, bool)
        for top in _starts(gradient.shape[0], self._window, self._step):
            for left in _starts(gradient.shape[1], self._window, self._step):
                place = np.s_[top : top + self._window, left : left + self._window]
                if gradient[place].mean() > self._density:
                    dense[place] = True
        return dense


def _starts(length: int, window: int, step: int) -> list[int]:
    """Where windows begin that cover 0..length; the last one is moved back to fit."""
    last = max(0, length - window)
    return [*range(0, last, step), last]

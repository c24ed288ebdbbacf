"""Other people's defenses, written from the descriptions in their papers, to compare with ours in the same run.

HN and FPDA are detectors only: they say whether there is a patch, not where, so that the segmentation stays as it is.
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
from zmask_ros.progress import Advance, no_advance
from zmask_ros.runtime.camera import at_size
from zmask_ros.segmenters import Segmenter

LEAST_DEVIATION = 1e-4
"""A feature whose deviation is below this share of the median deviation counts as constant, and has no z-score."""


class FeatureDetector:
    """Scores an image by the mean absolute z-score of one layer's features.

    Args:
        segmenter: The network.
        layer: Name of a deep layer.
        features: Turns the layer's activation [1, C, H, W] into features of any shape; each has a clean mean and
            deviation of its own.
        name: The title in tables.
    """

    def __init__(self, segmenter: Segmenter, layer: str, features: Callable[[Tensor], Tensor], name: str) -> None:
        self.name = name
        self.threshold = float("inf")
        self._segmenter = segmenter
        self._layer = layer
        self._features = features
        self._clean: Moments | None = None

    def fit(self, images: Sequence[np.ndarray], advance: Advance = no_advance) -> None:
        """Learn the clean range of every feature from at least two images; each is one step of ``advance``.

        Raises:
            ZmaskError: There are fewer images.
        """
        if len(images) < 2:
            raise ZmaskError(f"{self.name} learns from at least two clean frames, but there are {len(images)}.")
        for image in images:
            moments = Moments.of(self._run(image)[1][..., None])
            self._clean = moments if self._clean is None else self._clean.merge(moments)
            advance()

    def process(self, image: np.ndarray) -> Verdict:
        """Score one image, uint8 [H, W, 3] RGB.

        Raises:
            ZmaskError: `fit` has not been called.
        """
        if self._clean is None:
            raise ZmaskError(f"{self.name} has not seen clean frames yet.")
        undefended, features = self._run(image)
        deviation = self._clean.std
        varies = deviation > LEAST_DEVIATION * deviation.median()
        z = (features.double().cpu() - self._clean.mean)[varies] / deviation[varies]
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
    """HN (Co et al., 2021): the features of one deep layer against their clean range, every neuron on its own."""
    return FeatureDetector(segmenter, layer, lambda activation: activation, "HN")


def channel_mean(segmenter: Segmenter, layer: str) -> FeatureDetector:
    """FPDA, as compared with in Rossolini et al., AAAI 2023: the same on the layer's mean over its channels."""
    return FeatureDetector(segmenter, layer, lambda activation: activation.mean(1, keepdim=True), "FPDA")


class LocalGradientSmoothing:
    """LGS (Naseer et al., WACV 2019): it always smooths the image where gradients are dense.

    ``x' = x (1 - clip(strength * g, 0, 1))`` with g the gradient magnitude, normalized to 0..1 over the image and kept
    only in overlapping windows whose mean exceeds ``density``. The score is the mean of the clipped factor.

    Args:
        segmenter: The network.
        window: Side of the windows, in input pixels.
        overlap: Overlap of neighboring windows, in input pixels, less than ``window``.
        density: Mean gradient of a window above which it is smoothed, 0..1.
        strength: The paper's lambda, >= 0.
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
        """Smooth, score and segment one image, uint8 [H, W, 3] RGB."""
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
        """The share of each pixel of ``image``, uint8 [h, w, 3], that is taken away: float64 [h, w] in 0..1."""
        gray = image.astype(np.float64).mean(2)
        down, right = np.diff(gray, axis=0, append=gray[-1:]), np.diff(gray, axis=1, append=gray[:, -1:])
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
    """Where windows start that cover 0..length; the last window is moved back to fit."""
    last = max(0, length - window)
    return [*range(0, last, step), last]

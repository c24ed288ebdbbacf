"""Other people's defenses, written from the descriptions in their papers, to compare with ours in the same run.

HN and FPDA are detectors only: they say whether there is a patch, not where, so that the segmentation stays as it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense import Moments, Profile, tap
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.baselines.interface import segment
from zmask_ros.evaluation.metrics.records import Verdict
from zmask_ros.progress import Advance, no_advance
from zmask_ros.runtime.camera import at_size
from zmask_ros.segmenters import Segmenter

LEAST_DEVIATION = 1e-4
"""A feature whose deviation is below this share of the median deviation counts as constant, and has no z-score."""

WINDOW, OVERLAP = 15, 5
"""Side of the windows of LGS, and the overlap of neighboring ones, in input pixels."""
DENSITY = 0.1
"""Mean gradient of a window above which LGS smooths it, 0..1."""
STRENGTH = 2.3
"""The lambda of LGS, >= 0."""


class FeatureDetector:
    """Scores an image by the mean absolute z-score of one layer's features.

    Args:
        segmenter: The network.
        layer: Name of a deep layer.
        features: Turns the layer's activation [1, C, H, W] into features of any shape; each has a clean mean and
            deviation of its own.
        name: What errors call it.
    """

    def __init__(self, segmenter: Segmenter, layer: str, features: Callable[[Tensor], Tensor], name: str) -> None:
        self.name = name
        self.threshold = float("inf")
        self._segmenter, self._layer, self._features = segmenter, layer, features
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
        return Verdict.unmasked(undefended, score, score > self.threshold)

    @torch.inference_mode()
    def _run(self, image: np.ndarray) -> tuple[np.ndarray, Tensor]:
        with tap(self._segmenter, (self._layer,)) as taps:
            logits = self._segmenter.logits(self._segmenter.prepare(image))
            features = self._features(taps[self._layer])
        return at_size(logits.argmax(1)[0].byte(), image), features


# HN and FPDA take the last deep layer: they were made for features that lie far from the image.
def hyperneuron(segmenter: Segmenter, first: Profile) -> FeatureDetector:
    """HN (Co et al., 2021): the features of one deep layer against their clean range, every neuron on its own."""
    return FeatureDetector(segmenter, first.detector.deep.layers[-1], lambda activation: activation, "HN")


def channel_mean(segmenter: Segmenter, first: Profile) -> FeatureDetector:
    """FPDA, as compared with in Rossolini et al., AAAI 2023: the same on the layer's mean over its channels."""
    return FeatureDetector(segmenter, first.detector.deep.layers[-1], lambda a: a.mean(1, keepdim=True), "FPDA")


class LocalGradientSmoothing:
    """LGS (Naseer et al., WACV 2019): it always smooths the image where gradients are dense.

    ``x' = x (1 - clip(STRENGTH * g, 0, 1))`` with g the gradient magnitude, normalized to 0..1 over the image and kept
    only in overlapping windows whose mean exceeds ``DENSITY``. The score is the mean of the clipped factor.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self.threshold = float("inf")
        self._segmenter = segmenter

    def process(self, image: np.ndarray) -> Verdict:
        """Smooth, score and segment one image, uint8 [H, W, 3] RGB."""
        height, width = self._segmenter.input_size
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        suppressed = self.suppression(small)
        smooth = np.clip(small * (1 - suppressed[..., None]), 0, 255).round().astype(np.uint8)
        labels = at_size(torch.from_numpy(segment(self._segmenter, smooth)), image)
        mask = at_size(torch.from_numpy(suppressed > 0.5).byte(), image) > 0
        score = float(suppressed.mean())
        return Verdict(score, score > self.threshold, mask, labels, segment(self._segmenter, image))

    def suppression(self, image: np.ndarray) -> np.ndarray:
        """The share of each pixel of ``image``, uint8 [h, w, 3], that is taken away: float64 [h, w] in 0..1."""
        gray = image.astype(np.float64).mean(2)
        down, right = np.diff(gray, axis=0, append=gray[-1:]), np.diff(gray, axis=1, append=gray[:, -1:])
        magnitude = np.hypot(down, right)
        spread = float(np.ptp(magnitude))
        gradient = (magnitude - magnitude.min()) / spread if spread else np.zeros_like(magnitude)
        dense = np.zeros(gradient.shape, bool)
        for top, left in itertools.product(*(_window_starts(length) for length in gradient.shape)):
            place = np.s_[top : top + WINDOW, left : left + WINDOW]
            dense[place] |= gradient[place].mean() > DENSITY
        return np.clip(STRENGTH * gradient * dense, 0, 1)


def _window_starts(length: int) -> list[int]:
    """Where windows start that cover 0..length; the last window is moved back to fit."""
    last = max(0, length - WINDOW)
    return [*range(0, last, WINDOW - OVERLAP), last]

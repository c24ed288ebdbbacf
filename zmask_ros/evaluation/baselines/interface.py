"""The interface of a baseline, and three of them: ours, ours with a plain threshold, and one layer by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense import Defense, LayerStatistics, Profile, masked_labels, working_grid
from zmask_ros.defense.evidence.head import head_score
from zmask_ros.defense.evidence.overactivation import LayerOverActivation, layer_maps
from zmask_ros.defense.evidence.taps import tap
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.metrics.records import Verdict
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.images.nearest import resize_nearest
from zmask_ros.progress import Advance, no_advance
from zmask_ros.runtime.camera import DefendedCamera, at_size
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.clean_fit import observe
from zmask_ros.training.plans import GRID_FRACTION
from zmask_ros.training.thresholds import clean_threshold

UNPOOLED = ((1, 1),)
"""The kernels of a single layer by itself: windows of one cell."""
CLEAN_CELLS = 0.999
"""Share of the clean cells that stay below the heat from which on it masks."""


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
        return _masked_above(self._segmenter, image, x, heat, self.threshold, score, undefended)


class SingleLayer:
    """The trivial defense: mean |z| of one layer's channels, masked where it is above what clean cells reach.

    Heat is Eq. 2 without pooling, the mean over the channels that vary of ``|A_c - mu_c| / sigma_c``, on the working
    grid. The mask is where it exceeds the `CLEAN_CELLS` quantile of clean images; the score is the mean heat of the
    hottest cells, as an evidence head's.

    Args:
        segmenter: The network.
        layer: Name of the layer.
    """

    def __init__(self, segmenter: Segmenter, layer: str) -> None:
        self.threshold = float("inf")
        self.layer = layer
        self._segmenter = segmenter
        self._grid = working_grid(segmenter.input_size, GRID_FRACTION)
        self._taps = tap(segmenter, (layer,))
        self._clean: LayerOverActivation | None = None
        self._cut = float("inf")

    @torch.inference_mode()
    def fit(self, images: Sequence[np.ndarray], advance: Advance = no_advance) -> None:
        """Learn the clean range of the channels, and of the heat, from clean images; each is one step of ``advance``.

        Raises:
            ZmaskError: There is no image.
        """
        if not images:
            raise ZmaskError("The mean z-scores of a layer are learned from clean frames, but there is none.")
        activations = [self._run(self._segmenter.prepare(image))[1] for image in images]
        statistics = LayerStatistics(observe(activations[0], UNPOOLED, self._grid))
        for activation in activations[1:]:
            statistics = statistics.merge(LayerStatistics(observe(activation, UNPOOLED, self._grid)))
        self._clean = LayerOverActivation(statistics, UNPOOLED).to(self._segmenter.device)
        heats = []
        for activation in activations:
            heats.append(self._clean(activation, self._grid).cpu().numpy())
            advance()
        self._cut = float(np.quantile(np.stack(heats), CLEAN_CELLS))

    @torch.inference_mode()
    def process(self, image: np.ndarray) -> Verdict:
        """Score, mask and segment one image, uint8 [H, W, 3] RGB.

        Raises:
            ZmaskError: `fit` has not been called.
        """
        if self._clean is None:
            raise ZmaskError(f"The mean z-scores of {self.layer} have not seen clean frames yet.")
        x = self._segmenter.prepare(image)
        logits, activation = self._run(x)
        undefended = at_size(logits.argmax(1)[0].byte(), image)
        heat = self._clean(activation, self._grid)
        score = float(head_score(heat))
        if score <= self.threshold:
            return Verdict.unmasked(undefended, score)
        return _masked_above(self._segmenter, image, x, heat, self._cut, score, undefended)

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The network's logits of the prepared image, and the layer's activation averaged to its own grid."""
        with self._taps as taps:
            logits = self._segmenter.logits(x)
            maps, _ = layer_maps(taps[self.layer], UNPOOLED, self._grid)
        return logits, maps


def _masked_above(
    segmenter: Segmenter,
    image: np.ndarray,
    x: Tensor,
    heat: Tensor,
    cut: float,
    score: float,
    undefended: np.ndarray,
) -> Verdict:
    """The verdict on a flagged image that is segmented again as ``x``, masked where the heat exceeds ``cut``."""
    hot = (heat[0, 0] > cut).cpu().numpy()
    hidden = torch.from_numpy(resize_nearest(hot, (x.shape[-2], x.shape[-1])))
    labels = masked_labels(segmenter, x, hidden[None, None].to(x))[0]
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

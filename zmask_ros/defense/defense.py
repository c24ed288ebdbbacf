"""The defence: segment, analyse, and where a frame is suspicious, mask and segment again. Stateless."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from zmask_ros.defense.analyzer import Analysis, Analyzer
from zmask_ros.defense.evidence.grid import Size
from zmask_ros.defense.evidence.taps import ActivationTaps
from zmask_ros.defense.masking.growth import OPEN
from zmask_ros.defense.profile.profile import Binding, Profile
from zmask_ros.defense.resegmentation.stem import Kept, Network, StemTap, masked_logits
from zmask_ros.defense.resegmentation.stem_search import find_stem
from zmask_ros.defense.stage_timer import Stages


class SegmentationNetwork(Network, Protocol):
    """What the defence needs of a segmenter."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def mean(self) -> tuple[float, float, float]: ...
    @property
    def std(self) -> tuple[float, float, float]: ...


@torch.inference_mode()
def bind(segmenter: SegmentationNetwork, layers: tuple[str, ...]) -> Binding:
    """What a profile for ``layers`` of this segmenter belongs to; runs the network once on a grey image.

    Raises:
        LayerError: a layer is missing or gives no feature map.
    """
    names = tuple(dict.fromkeys(layers))
    with ActivationTaps(segmenter.network, names) as taps:
        segmenter.logits(torch.zeros(1, 3, *segmenter.input_size, device=segmenter.device))
        shapes = {name: (taps[name].shape[1], taps[name].shape[2], taps[name].shape[3]) for name in names}
    return Binding(segmenter.name, segmenter.digest, segmenter.input_size, segmenter.mean, segmenter.std, shapes)


@dataclass(frozen=True)
class Thresholds:
    """Scores above which something is done about an image.

    Attributes:
        attack: it is called an attack.
        masking: it is masked and segmented again; at most ``attack``. In between it is masked as a precaution: an
            attacker must stay below this one to be left alone, and a mask costs a harmless image next to nothing.
    """

    attack: float
    masking: float


class FirstPass:
    """What the network said of B images before masking.

    Its labels are worked out when they are asked for: of an image that is segmented again, hardly anybody does.

    Args:
        logits: class scores [B, K, h, w].
    """

    def __init__(self, logits: Tensor) -> None:
        self._logits: Tensor | None = logits
        self._labels: Tensor | None = None

    @property
    @torch.inference_mode()
    def labels(self) -> Tensor:
        """uint8 [B, h, w]."""
        if self._labels is None:
            assert self._logits is not None
            self._labels, self._logits = labels_of(self._logits), None
        return self._labels


@dataclass(frozen=True)
class DefenseResult:
    """What the defence says of a batch of B images of h x w pixels.

    Attributes:
        labels: uint8 [B, h, w], the defended segmentation.
        first: what the network said before masking.
        mask: bool [B, h, w], the masked pixels; all False where a frame is not suspicious.
        flagged: bool [B], what is called an attack.
        suspicious: bool [B], what was masked: all that is flagged, and what is masked as a precaution.
        thresholds: the scores above which an image was flagged, and masked.
        analysis: evidence, soft mask and score.
        stages_ms: time of each stage in milliseconds.
        tracked: bool [B], where a patch that was known already was taken out in the one pass; of these frames
            ``first`` is the defended segmentation, and the analysis says what is beside the patch.
        analysed: of each image, whether the analysis is the whole one; else it is a glance's, in streaming mode.
    """

    labels: Tensor
    first: FirstPass
    mask: Tensor
    flagged: Tensor
    suspicious: Tensor
    thresholds: Thresholds
    analysis: Analysis
    stages_ms: dict[str, float]
    tracked: Tensor
    fully_analyzed: tuple[bool, ...]


class Defense(nn.Module):
    """A network with its defence. One thread at a time: inside, the network does not run as it does elsewhere.

    Args:
        segmenter: the network; it must be the one that the profile was fitted on.
        profile: clean statistics, fusion block and threshold.

    Raises:
        ProfileError: the profile belongs to another network, other layers, resolution or preprocessing.
    """

    def __init__(self, segmenter: SegmentationNetwork, profile: Profile) -> None:
        super().__init__()
        self.taps = ActivationTaps(segmenter.network, profile.layers)
        profile.binding.check(bind(segmenter, profile.bound_layers))
        self.segmenter = segmenter
        self.profile = profile
        self.analyzer = Analyzer(profile.detector, profile.binding).to(segmenter.device)
        self.stem = find_stem(segmenter)
        self.threshold = profile.detector.threshold.value
        self.precaution = profile.detector.masking_threshold

    @property
    def thresholds(self) -> Thresholds:
        """Both thresholds as they are now; ``threshold`` and ``precaution`` may be changed from another thread."""
        attack = self.threshold
        return Thresholds(attack, min(attack, self.precaution))

    def analyze(self, x: Tensor) -> tuple[Tensor, Analysis]:
        """Logits [B, K, h, w] and analysis of the normalised images ``x`` [B, 3, h, w], in one pass; differentiable."""
        with self.taps as taps:
            logits = self.segmenter.logits(x)
            return logits, self.analyzer(taps)

    def mask(self, analysis: Analysis, size: Size) -> Tensor:
        """The mask, 0 or 1, [B, 1, *size]; differentiable by straight-through estimation."""
        return self.analyzer.mask(analysis, self.analyzer.region(analysis), size)

    def mask_of(self, analysis: Analysis, where: Tensor | None, size: Size) -> Tensor:
        """`mask` of the images ``where``, bool [B], or None for all; 0 in the others, which cost nothing."""
        if where is None:
            return self.mask(analysis, size)
        masks = torch.zeros(len(where), 1, *size, device=where.device)
        masks[where] = self.mask(analysis.where(where), size)
        return masks

    @torch.inference_mode()
    def forward(self, x: Tensor) -> DefenseResult:
        """Defend the normalised images ``x`` [B, 3, h, w]; only suspicious ones are segmented again."""
        stages = Stages(x.device)
        # Read once: they may be changed from another thread.
        thresholds = self.thresholds
        with self.taps as taps, StemTap(self.stem) as stem:
            first = FirstPass(self.segmenter.logits(x))
            stages.mark("network")
            analysis = self.analyzer(taps)
            suspicious = analysis.score > thresholds.masking
            repeated = bool(suspicious.any())
            stages.mark("analysis")
        if repeated:
            again = some(suspicious)
            hard = self.mask_of(analysis, again, (x.shape[-2], x.shape[-1]))
            labels = segment_again(self.segmenter, x, hard, again, first, stem.kept)
            mask = hard[:, 0] > OPEN
            stages.mark("second pass")
        else:
            labels, mask = first.labels, torch.zeros_like(first.labels, dtype=torch.bool)
            stages.mark("labels")
        return DefenseResult(
            labels=labels,
            first=first,
            mask=mask,
            flagged=analysis.score > thresholds.attack,
            suspicious=suspicious,
            thresholds=thresholds,
            analysis=analysis,
            stages_ms=stages.milliseconds(),
            tracked=torch.zeros_like(suspicious),
            fully_analyzed=(True,) * len(suspicious),
        )


def some(where: Tensor) -> Tensor | None:
    """``where``, bool [B]; None for all of a batch, which nothing has to be picked from."""
    return None if bool(where.all()) else where


def segment_again(
    segmenter: SegmentationNetwork, x: Tensor, mask: Tensor, where: Tensor | None, first: FirstPass, kept: Kept | None
) -> Tensor:
    """Labels, uint8 [B, h, w], of images with masked pixels filled.

    Args:
        x: normalised images, [B, 3, h, w].
        mask: [B, 1, h, w], 0 or 1.
        where: bool [B]; the others keep their labels. None: all are segmented again.
        first: of the images as they are.
        kept: what the network's stem put out for ``x``; None: nothing that holds.
    """
    if where is None:
        return masked_labels(segmenter, x, mask, kept)
    labels = first.labels.clone()
    labels[where] = masked_labels(segmenter, x[where], mask[where], None if kept is None else kept.where(where))
    return labels


@torch.inference_mode()
def masked_labels(segmenter: SegmentationNetwork, x: Tensor, mask: Tensor, kept: Kept | None = None) -> Tensor:
    """Labels, uint8 [B, h, w], of normalised images with masked pixels filled; see `masked_logits`."""
    return labels_of(masked_logits(segmenter, x, mask, kept))


def labels_of(logits: Tensor) -> Tensor:
    """uint8 [B, h, w], the likeliest class of class scores [B, K, h, w]."""
    return logits.argmax(1).to(torch.uint8)

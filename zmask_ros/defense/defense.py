"""The defense: segment, analyze, and where an image is suspicious, mask it and segment it again. It keeps no state."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from zmask_ros.defense.analyzer import ANALYSIS, Analysis, Analyzer, exported_evidence
from zmask_ros.defense.evidence.grid import Size
from zmask_ros.defense.evidence.taps import tap, try_layers
from zmask_ros.defense.masking.influence import makes_difference
from zmask_ros.defense.masking.soft_region import OPEN
from zmask_ros.defense.profile.profile import Binding, Profile
from zmask_ros.defense.resegmentation.stem import StemOutput, StemTap, masked_scores
from zmask_ros.defense.resegmentation.stem_search import find_stem
from zmask_ros.defense.segmentation_network import SegmentationNetwork
from zmask_ros.defense.stage_timer import StageTimer
from zmask_ros.segmenters.labels import labels_of


def bind(segmenter: SegmentationNetwork, layers: tuple[str, ...]) -> Binding:
    """What a profile for ``layers`` of this segmenter belongs to; runs the network, if need be.

    Raises:
        LayerError: a layer is missing, or cannot be tapped.
    """
    names = tuple(dict.fromkeys(layers))
    shapes = {name: trial.shape for name, trial in try_layers(segmenter, names).items()}
    return Binding(segmenter.name, segmenter.digest, segmenter.input_size, segmenter.mean, segmenter.std, shapes)


def check_binding(binding: Binding, segmenter: SegmentationNetwork, layers: tuple[str, ...]) -> None:
    """Refuse a profile of anything else than these layers of this segmenter; runs the network, if need be.

    Raises:
        ProfileError: it belongs to another network, other layers, resolution or preprocessing; the sentence says which.
    """
    # First what shows without a pass: another network has other layers, and an engine runs no other resolution.
    binding.check(replace(bind(segmenter, ()), shapes=binding.shapes))
    binding.check(bind(segmenter, layers))


@dataclass(frozen=True)
class Thresholds:
    """Scores above which something is done about an image.

    Attributes:
        attack: tau of Eq. 7; an image with a higher score is flagged, called an attack.
        masking: an image with a higher score is masked and segmented again; at most ``attack``. In between it is masked
            as a precaution: an attacker must stay below this one to be left alone, and a mask costs a benign image next
            to nothing. Such a mask is taken back where it makes no difference.
        clean: a score that clean images hardly exceed: ``attack``, unless the profile's was raised above it.
    """

    attack: float
    masking: float
    clean: float


class FirstPass:
    """What the network said of B images before masking.

    Its labels are computed when they are asked for: of an image that is segmented again, hardly anybody does.

    Args:
        scores: of the classes, [B, K, H, W], at the size at which the network puts them out.
        size: height and width of the images.
    """

    def __init__(self, scores: Tensor, size: Size) -> None:
        self._scores: Tensor | None = scores
        self._size = size
        self._labels: Tensor | None = None

    @property
    @torch.inference_mode()
    def labels(self) -> Tensor:
        """The segmentation before masking, uint8 [B, h, w]."""
        if self._labels is None:
            assert self._scores is not None
            self._labels, self._scores = labels_of(self._scores, self._size), None
        return self._labels


@dataclass(frozen=True)
class MaskedSegmentation:
    """The segmentation of B images of which some are masked.

    Attributes:
        labels: uint8 [B, h, w].
        suspicious: bool [B], of which images the analysis masks something.
        masked: the masked pixels, 0 or 1, [B, 1, h, w]; None: no image is masked.
        by_analysis: the pixels that the analysis masks, 0 or 1, [B, 1, h, w]; None: it masks none.
    """

    labels: Tensor
    suspicious: Tensor
    masked: Tensor | None
    by_analysis: Tensor | None

    @property
    def mask(self) -> Tensor:
        """The masked pixels, bool [B, h, w]."""
        return torch.zeros_like(self.labels, dtype=torch.bool) if self.masked is None else self.masked[:, 0] > OPEN


@dataclass(frozen=True)
class DefenseResult:
    """What the defense says of a batch of B images of h x w pixels.

    Attributes:
        labels: uint8 [B, h, w], the defended segmentation.
        first: what the network said before masking.
        mask: bool [B, h, w], the masked pixels; all false where an image is not suspicious.
        flagged: bool [B], Eq. 7: what is called an attack.
        suspicious: bool [B], what was masked: all that is flagged, and what is masked as a precaution that makes a
            difference.
        thresholds: the scores above which an image was flagged, and masked.
        analysis: evidence, soft mask and score.
        stages_ms: time of each stage in milliseconds.
        tracked: bool [B], where a patch that was known already was removed in the one pass; of these images ``first``
            is the defended segmentation, and the analysis says what is outside of the patch.
        fully_analyzed: of each image, whether the analysis is the whole one; otherwise it is the screen's, in streaming
            mode.
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
    """A network with its defense. One thread at a time: inside, the network does not run as it does elsewhere.

    Eq. 7 flags an image as attacked if and only if its score s (Eq. 6, with an evidence head `head_score`) is above the
    threshold tau of the profile:

        s > tau

    Args:
        segmenter: the network; it must be the one that the profile was fitted on.
        profile: clean statistics, fusion block and threshold.

    Raises:
        ProfileError: the profile belongs to another network, other layers, resolution or preprocessing.
    """

    def __init__(self, segmenter: SegmentationNetwork, profile: Profile) -> None:
        super().__init__()
        check_binding(profile.binding, segmenter, profile.bound_layers)
        self.taps = tap(segmenter, profile.layers)
        self.segmenter = segmenter
        self.profile = profile
        exported = exported_evidence(segmenter.network, profile, ANALYSIS)
        self.analyzer = Analyzer(profile.detector, profile.binding, exported).to(segmenter.device)
        self.stem = find_stem(segmenter)
        self.threshold = profile.detector.threshold.value
        self.precaution = profile.detector.masking_threshold

    @property
    def thresholds(self) -> Thresholds:
        """Both thresholds as they are now; ``threshold`` and ``precaution`` may be changed from another thread."""
        attack, own = self.threshold, self.profile.detector
        masking = min(attack, self.precaution)
        raised = own.alarm_is_raised and (attack, masking) == (own.threshold.value, own.masking_threshold)
        return Thresholds(attack, masking, masking if raised else attack)

    @property
    def precaution_rate(self) -> float | None:
        """Of clean frames, the share that the profile set the masking threshold for; None: another one is in use."""
        fitted = self.profile.detector.precaution
        return fitted.false_alarm_rate if fitted is not None and self.thresholds.masking == fitted.value else None

    def analyze(self, x: Tensor) -> tuple[Tensor, Analysis]:
        """Logits [B, K, h, w] and analysis of the normalized images ``x`` [B, 3, h, w], in one pass; differentiable."""
        with self.taps as taps:
            logits = self.segmenter.logits(x)
            return logits, self.analyzer(taps)

    def mask(self, analysis: Analysis, size: Size) -> Tensor:
        """The mask, 0 or 1, [B, 1, *size]; differentiable by straight-through estimation."""
        return self.analyzer.mask(analysis, self.analyzer.region(analysis), size)

    @torch.inference_mode()
    def forward(self, x: Tensor) -> DefenseResult:
        """Defend the normalized images ``x`` [B, 3, h, w]; only suspicious ones are segmented again."""
        timer = StageTimer(x.device)
        # Read once: they may be changed from another thread.
        thresholds = self.thresholds
        with self.taps as taps, StemTap(self.stem) as stem:
            first = FirstPass(self.segmenter.scores(x), (x.shape[-2], x.shape[-1]))
            timer.mark("network")
            analysis = self.analyzer(taps)
            suspicious, attacked = analysis.score > thresholds.masking, analysis.score > thresholds.attack
            repeated = bool(suspicious.any())
            timer.mark("analysis")
        where = suspicious if repeated else None
        segmentation = self.segment(x, first, analysis, where, attacked, stem.output, timer)
        return DefenseResult(
            labels=segmentation.labels,
            first=first,
            mask=segmentation.mask,
            flagged=attacked,
            suspicious=segmentation.suspicious,
            thresholds=thresholds,
            analysis=analysis,
            stages_ms=timer.milliseconds(),
            tracked=torch.zeros_like(suspicious),
            fully_analyzed=(True,) * len(suspicious),
        )

    def segment(
        self,
        x: Tensor,
        first: FirstPass,
        analysis: Analysis,
        suspicious: Tensor | None,
        attacked: Tensor,
        stem_output: StemOutput | None,
        timer: StageTimer,
        removed: Tensor | None = None,
    ) -> MaskedSegmentation:
        """The defended segmentation: suspicious images are masked and segmented again, the others keep their labels.

        A mask on an image that is not called an attack is taken back where it makes no difference, see
        `makes_difference`: whoever is masked there does no more than that.

        Args:
            x: normalized images, [B, 3, h, w].
            first: what the network said of them.
            analysis: of them.
            suspicious: bool [B], with at least one image; None: none is suspicious.
            attacked: bool [B], those of them that are called an attack.
            stem_output: of the network's stem for ``x``; None: there is none, or it is not of these images.
            timer: of the batch.
            removed: pixels that were hidden from the network already, 0 or 1, [B, 1, h, w]; None: none were.
        """
        if suspicious is None:
            segmentation = MaskedSegmentation(first.labels, torch.zeros_like(attacked), removed, by_analysis=None)
            timer.mark("labels")
            return segmentation
        size = (x.shape[-2], x.shape[-1])
        # Where all of a batch is suspicious, nothing has to be picked from it.
        where = None if bool(suspicious.all()) else suspicious
        if where is None:
            found = self.mask(analysis, size)
        else:
            found = torch.zeros(len(where), 1, *size, device=where.device)
            found[where] = self.mask(analysis.where(where), size)
        masked = found if removed is None else torch.maximum(removed, found)
        labels = self._resegment(x, masked, where, first, stem_output)
        segmentation = MaskedSegmentation(labels, suspicious, masked, found)
        if not bool((attacked | ~suspicious).all()):
            segmentation = self._without_idle_precautions(segmentation, first, attacked, removed)
        timer.mark("second pass")
        return segmentation

    def _without_idle_precautions(
        self, segmentation: MaskedSegmentation, first: FirstPass, attacked: Tensor, removed: Tensor | None
    ) -> MaskedSegmentation:
        """The same without the masks that make no difference, of images that are not called an attack."""
        assert segmentation.masked is not None and segmentation.by_analysis is not None
        side = self.profile.detector.grid_fraction
        kept = attacked | makes_difference(first.labels, segmentation.labels, segmentation.masked, (side, side))
        found = segmentation.by_analysis * kept[:, None, None, None]
        return MaskedSegmentation(
            labels=torch.where(kept[:, None, None], segmentation.labels, first.labels),
            suspicious=segmentation.suspicious & kept,
            masked=found if removed is None else torch.maximum(removed, found),
            by_analysis=found,
        )

    def _resegment(
        self, x: Tensor, masked: Tensor, where: Tensor | None, first: FirstPass, stem_output: StemOutput | None
    ) -> Tensor:
        """Labels of the images ``where``, bool [B], segmented again; None: of all. The others keep their labels."""
        if where is None:
            return masked_labels(self.segmenter, x, masked, stem_output)
        labels = first.labels.clone()
        output = None if stem_output is None else stem_output.where(where)
        labels[where] = masked_labels(self.segmenter, x[where], masked[where], output)
        return labels


@torch.inference_mode()
def masked_labels(
    segmenter: SegmentationNetwork, x: Tensor, mask: Tensor, stem_output: StemOutput | None = None
) -> Tensor:
    """Labels, uint8 [B, h, w], of normalized images whose masked pixels are inpainted; see `masked_scores`."""
    return labels_of(masked_scores(segmenter, x, mask, stem_output), (x.shape[-2], x.shape[-1]))

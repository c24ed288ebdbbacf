"""From the activations of one forward pass to score and mask: the whole analysis of a detector. It keeps no state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from zmask_ros.defense.evidence.descriptors import DescriptorFeatures
from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.evidence.fusion import FusionBlock, attack_score
from zmask_ros.defense.evidence.grid import Size
from zmask_ros.defense.evidence.head import EvidenceHead, Features, Head, head_score
from zmask_ros.defense.evidence.head_features import HeadFeatures
from zmask_ros.defense.evidence.overactivation import Activations, Branch, LayerOverActivation, fuse_layers
from zmask_ros.defense.evidence.statistics import LayerStatistics
from zmask_ros.defense.evidence.taps import Shape
from zmask_ros.defense.masking.growth import grow
from zmask_ros.defense.masking.mask_edge import exclude_street, refine_edge
from zmask_ros.defense.masking.rectangles import complete_rectangles
from zmask_ros.defense.masking.soft_region import hard_mask
from zmask_ros.defense.profile.detector import Detector, statistics_key
from zmask_ros.defense.profile.profile import Binding, Profile
from zmask_ros.defense.profile.storage import profile_digest
from zmask_ros.segmenters.engine.network import EngineNetwork


@dataclass(frozen=True)
class Evidence:
    """The fused heat maps of one batch, on the working grid; differentiable.

    Attributes:
        shallow: H_S, [B, 1, h, w], at least 0; of a detector with an evidence head, the heat of the head.
        deep: H_D, [B, 1, h, w], at least 0; of a detector with an evidence head, the same heat.
    """

    shallow: Tensor
    deep: Tensor


Score = Callable[[Evidence, Tensor], Tensor]
"""Scores [B] of images, at least 0, from their evidence and soft masks."""


@dataclass(frozen=True)
class Analysis:
    """Evidence, soft mask and score of one batch; differentiable.

    Attributes:
        evidence: H_S and H_D.
        mask: soft mask M, [B, 1, h, w] in 0..1.
        score: s, [B], at least 0.
        edge: activation [B, C, H, W] of the layer that refines the edge of masks; None where no layer does.
    """

    evidence: Evidence
    mask: Tensor
    score: Tensor
    edge: Tensor | None = None

    @property
    def heat(self) -> Tensor:
        """H_D H_S M, [B, 1, h, w]: what the score of Eq. 6 sums up."""
        return self.evidence.deep * self.evidence.shallow * self.mask

    def where(self, images: Tensor) -> Analysis:
        """The analysis of those images of the batch only where bool [B] is true."""
        evidence = Evidence(self.evidence.shallow[images], self.evidence.deep[images])
        edge = None if self.edge is None else self.edge[images]
        return Analysis(evidence, self.mask[images], self.score[images], edge)

    def updated(self, images: Tensor, other: Analysis) -> Analysis:
        """This analysis with ``other`` in the place of those images of the batch where bool [B] is true; no edge."""
        pairs = (
            (self.evidence.shallow, other.evidence.shallow),
            (self.evidence.deep, other.evidence.deep),
            (self.mask, other.mask),
            (self.score, other.score),
        )
        shallow, deep, mask, score = (own.index_put((images,), theirs) for own, theirs in pairs)
        return Analysis(Evidence(shallow, deep), mask, score)

    def within(self, cells: Tensor, score: Score) -> Analysis:
        """This analysis of those cells only where ``cells``, [B, 1, h, w], is 1 and not 0, with ``score`` of them."""
        evidence = Evidence(self.evidence.shallow * cells, self.evidence.deep * cells)
        mask = self.mask * cells
        return Analysis(evidence, mask, score(evidence, mask), self.edge)


class LayerEvidence(nn.Module):
    """H_S and H_D by Eq. 2 to 4, from the activations of the layers in S and D.

    Args:
        shallow: the layer set S with its kernels.
        deep: the layer set D with its kernels.
        statistics: clean statistics of the layers, keyed by `statistics_key`.
        grid: height and width of the working grid.
    """

    def __init__(self, shallow: Branch, deep: Branch, statistics: dict[str, LayerStatistics], grid: Size) -> None:
        super().__init__()
        self.grid = grid
        self.branches = {"shallow": shallow, "deep": deep}
        self.layers = nn.ModuleDict(
            {
                _module_name(name, layer): LayerOverActivation(statistics[statistics_key(name, layer)], branch.kernels)
                for name, branch in self.branches.items()
                for layer in branch.layers
            }
        )

    def forward(self, taps: Activations) -> Evidence:
        """The evidence of the activations of one forward pass."""
        return Evidence(self._branch_heat("shallow", taps), self._branch_heat("deep", taps))

    def _branch_heat(self, name: str, taps: Activations) -> Tensor:
        layers = self.branches[name].layers
        return fuse_layers([self.layers[_module_name(name, layer)](taps[layer], self.grid) for layer in layers])


def _module_name(branch: str, layer: str) -> str:
    return statistics_key(branch, layer).replace(".", "/")


class LearnedEvidence(nn.Module):
    """The heat of an evidence head, in the place of both H_S and H_D.

    Args:
        head: layers and weights of the head.
        features: of the layers of ``head``.
    """

    def __init__(self, head: Head, features: Features) -> None:
        super().__init__()
        self.head = EvidenceHead(head, features)

    def forward(self, taps: Activations) -> Evidence:
        """The evidence of the activations of one forward pass."""
        heat = self.head(taps)
        return Evidence(heat, heat)


ANALYSIS, SCREENING = "analysis", "screening"
"""Names under which the evidence of a whole analysis and that of a screen are exported."""


class ExportedEvidence(nn.Module):
    """Evidence that an inference engine makes.

    Args:
        network: on the engine.
        name: of the evidence.
    """

    def __init__(self, network: EngineNetwork, name: str) -> None:
        super().__init__()
        self._make, self._name = network.make_evidence, name

    def forward(self, taps: Activations) -> Evidence:
        """The evidence of the activations of one forward pass."""
        return Evidence(**self._make(self._name, taps))


def exported_evidence(network: nn.Module, profile: Profile, name: str) -> ExportedEvidence | None:
    """The evidence that was exported with a network for this profile; None: none was."""
    if not isinstance(network, EngineNetwork) or name not in network.evidence:
        return None
    return ExportedEvidence(network, name) if network.origin.profile == profile_digest(profile) else None


def head_features(
    statistics: Mapping[str, LayerStatistics],
    shapes: Mapping[str, Shape],
    grid: Size,
    branch: Branch,
    kind: FeatureKind,
) -> Features:
    """The features of a head's layers.

    Args:
        statistics: clean ones of the layers, and those of descriptors if it sees these, by `statistics_key`.
        shapes: (C, H, W) of the layers, by name.
        grid: height and width of the working grid.
        branch: the layers with their kernels.
        kind: of the features.
    """
    own = {name: statistics[statistics_key("head", name)] for name in branch.layers}
    sizes = {name: (height, width) for name, (_, height, width) in shapes.items()}
    if kind.of_channels:
        return HeadFeatures(branch, own, sizes, grid, kind)
    clean = {name: statistics[statistics_key("descriptors", name)] for name in branch.layers}
    return DescriptorFeatures(branch, own, clean, sizes, grid)


def score_function(learned: bool) -> Score:
    """The score of a detector: `head_score` if its evidence is ``learned``, by a head, otherwise Eq. 6."""
    if learned:
        return lambda evidence, mask: head_score(evidence.shallow)
    return lambda evidence, mask: attack_score(evidence.shallow, evidence.deep, mask)


def build_evidence(detector: Detector, binding: Binding) -> LayerEvidence | LearnedEvidence:
    """The module that makes the evidence of ``detector``: the heat of its head, or the mean z-scores of its layers."""
    head, grid = detector.head, detector.grid(binding.input_size)
    if head is None:
        return LayerEvidence(detector.shallow, detector.deep, detector.statistics, grid)
    features = head_features(detector.statistics, binding.shapes, grid, head.branch, head.kind)
    return LearnedEvidence(head, features)


class Analyzer(nn.Module):
    """The whole analysis of a detector, from the activations of one forward pass to score and mask; differentiable.

    Args:
        detector: layers, statistics, fusion block and growth.
        binding: of its profile.
        exported: what makes its evidence on an inference engine; None: nothing does.
    """

    evidence: LayerEvidence | LearnedEvidence | ExportedEvidence

    def __init__(self, detector: Detector, binding: Binding, exported: ExportedEvidence | None = None) -> None:
        super().__init__()
        self.evidence = exported or build_evidence(detector, binding)
        self.fusion = FusionBlock(detector.fusion)
        self.growth = detector.growth
        self.score = score_function(detector.head is not None)

    def forward(self, taps: Activations) -> Analysis:
        """Evidence (Eq. 2 to 4), soft mask (Eq. 5) and score (see `score_function`) of one pass's activations."""
        evidence = self.evidence(taps)
        mask = self.fusion(evidence.shallow, evidence.deep)
        edge = None if self.growth.edge is None else taps[self.growth.edge]
        return Analysis(evidence, mask, self.score(evidence, mask), edge)

    def region(self, analysis: Analysis) -> Tensor:
        """The soft region to mask, [B, 1, h, w] in 0..1: M, grown, completed to rectangles, without the street."""
        evidence = analysis.evidence
        warm = grow(self.fusion, self.growth, evidence.shallow, evidence.deep, analysis.mask)
        completed = complete_rectangles(warm, self.growth.solid)
        return completed if analysis.edge is None else exclude_street(warm, completed, analysis.edge)

    def mask(self, analysis: Analysis, region: Tensor, size: Size) -> Tensor:
        """The mask of a soft region, with its edge refined; its gradient passes straight through.

        Args:
            analysis: that the region comes from.
            region: soft region, [B, 1, h, w].
            size: height and width of the mask.

        Returns:
            0 or 1, [B, 1, *size].
        """
        return hard_mask(region if analysis.edge is None else refine_edge(region, analysis.edge), size)

"""From activations to score and mask: all layers, fused (Z-Mask, AAAI 2023, Section 3). Stateless."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zmask_ros.defense.evidence.fusion import FusionBlock, attack_score
from zmask_ros.defense.evidence.grid import Size, resample
from zmask_ros.defense.evidence.head import EvidenceHead, Head, HeadFeatures, head_score
from zmask_ros.defense.evidence.overactivation import Activations, Branch, LayerOverActivation, fuse_layers
from zmask_ros.defense.evidence.statistics import LayerStatistics
from zmask_ros.defense.masking.growth import OPEN, complete_rectangles, grow
from zmask_ros.defense.masking.refinement import refine, without_street
from zmask_ros.defense.profile.detector import Detector, statistics_key
from zmask_ros.defense.profile.profile import Binding


@dataclass(frozen=True)
class Evidence:
    """What the layers of one batch say, on the working grid; differentiable.

    Attributes:
        shallow, deep: H_S and H_D, [B, 1, h, w], at least 0; of a profile with an evidence head, both are its heat.
    """

    shallow: Tensor
    deep: Tensor


Score = Callable[[Evidence, Tensor], Tensor]
"""An image's score [B] of its evidence and soft mask."""


@dataclass(frozen=True)
class Analysis:
    """Evidence, fused; differentiable.

    Attributes:
        evidence: H_S and H_D.
        mask: soft mask M, [B, 1, h, w], 0..1.
        score: s, [B], at least 0.
        edge: activation [B, C, H, W] of the layer that says where patches end; None where no layer does.
    """

    evidence: Evidence
    mask: Tensor
    score: Tensor
    edge: Tensor | None = None

    @property
    def heat(self) -> Tensor:
        """H_D H_S M, [B, 1, h, w]: what the score sums up."""
        return self.evidence.deep * self.evidence.shallow * self.mask

    def where(self, images: Tensor) -> Analysis:
        """That of the images of the batch where bool [B] says so."""
        evidence = Evidence(self.evidence.shallow[images], self.evidence.deep[images])
        edge = None if self.edge is None else self.edge[images]
        return Analysis(evidence, self.mask[images], self.score[images], edge)

    def updated(self, images: Tensor, other: Analysis) -> Analysis:
        """This one with ``other`` in the place of the images of the batch where bool [B] says so."""
        pairs = (
            (self.evidence.shallow, other.evidence.shallow),
            (self.evidence.deep, other.evidence.deep),
            (self.mask, other.mask),
            (self.score, other.score),
        )
        shallow, deep, mask, score = (own.index_put((images,), theirs) for own, theirs in pairs)
        return Analysis(Evidence(shallow, deep), mask, score)

    def within(self, seen: Tensor, score: Score) -> Analysis:
        """That of the cells alone where ``seen``, [B, 1, h, w], is 1 and not 0, scored anew."""
        evidence = Evidence(self.evidence.shallow * seen, self.evidence.deep * seen)
        mask = self.mask * seen
        return Analysis(evidence, mask, score(evidence, mask), self.edge)


class LayerEvidence(nn.Module):
    """H_S and H_D from the taps of one forward pass."""

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
        return Evidence(self._branch_heat("shallow", taps), self._branch_heat("deep", taps))

    def _branch_heat(self, name: str, taps: Activations) -> Tensor:
        layers = self.branches[name].layers
        return fuse_layers([self.layers[_module_name(name, layer)](taps[layer], self.grid) for layer in layers])


def _module_name(branch: str, layer: str) -> str:
    return statistics_key(branch, layer).replace(".", "/")


class LearnedEvidence(nn.Module):
    """The heat of an evidence head, in the place of both H_S and H_D."""

    def __init__(self, head: Head, features: HeadFeatures) -> None:
        super().__init__()
        self.head = EvidenceHead(head, features)

    def forward(self, taps: Activations) -> Evidence:
        heat = self.head(taps)
        return Evidence(heat, heat)


def head_features(detector: Detector, binding: Binding, branch: Branch, textured: bool) -> HeadFeatures:
    """What a head with the layers of ``branch`` sees; ``detector`` has their statistics."""
    statistics = {name: detector.statistics[statistics_key("head", name)] for name in branch.layers}
    sizes = {name: (height, width) for name, (_, height, width) in binding.shapes.items()}
    return HeadFeatures(branch, statistics, sizes, detector.grid(binding.input_size), textured)


def score_function(learned: bool) -> Score:
    """How an image's score [B] comes from its evidence and soft mask: with a ``learned`` head, or without."""
    if learned:
        return lambda evidence, mask: head_score(evidence.shallow)
    return lambda evidence, mask: attack_score(evidence.shallow, evidence.deep, mask)


def build_evidence(detector: Detector, binding: Binding) -> LayerEvidence | LearnedEvidence:
    """What ``detector`` makes of the taps of a pass: mean z-scores of its layers, or its head's heat."""
    head = detector.head
    if head is None:
        grid = detector.grid(binding.input_size)
        return LayerEvidence(detector.shallow, detector.deep, detector.statistics, grid)
    return LearnedEvidence(head, head_features(detector, binding, head.branch, head.textured))


class Analyzer(nn.Module):
    """The whole analysis of a detector: taps of one forward pass to mask and score.

    Args:
        detector: what is looked at, and how.
        binding: of its profile.
    """

    evidence: LayerEvidence | LearnedEvidence

    def __init__(self, detector: Detector, binding: Binding) -> None:
        super().__init__()
        self.evidence = build_evidence(detector, binding)
        self.fusion = FusionBlock(detector.fusion)
        self.growth = detector.growth
        self.score = score_function(detector.head is not None)

    def forward(self, taps: Activations) -> Analysis:
        evidence = self.evidence(taps)
        mask = self.fusion(evidence.shallow, evidence.deep)
        edge = None if self.growth.edge is None else taps[self.growth.edge]
        return Analysis(evidence, mask, self.score(evidence, mask), edge)

    def region(self, analysis: Analysis) -> Tensor:
        """The soft region to mask, [B, 1, h, w] in 0..1: M, grown, completed, and without street; differentiable."""
        evidence = analysis.evidence
        warm = grow(self.fusion, self.growth, evidence.shallow, evidence.deep, analysis.mask)
        whole = complete_rectangles(warm, self.growth.solid)
        return whole if analysis.edge is None else without_street(warm, whole, analysis.edge)

    def mask(self, analysis: Analysis, region: Tensor, size: Size) -> Tensor:
        """The mask of a soft region [B, 1, h, w], 0 or 1, [B, 1, *size]; differentiable (straight-through)."""
        return hard_mask(region if analysis.edge is None else refine(region, analysis.edge), size)


def hard_mask(region: Tensor, size: Size) -> Tensor:
    """The soft region [B, 1, h, w] as 0 or 1 at ``size``; its gradient is the soft region's (straight-through)."""
    soft = resample(region, size)
    # Written as numbers at once: making bits of them first takes several times as long.
    hard = torch.gt(soft.detach(), OPEN, out=torch.empty_like(soft))
    return hard + (soft - soft.detach()) if soft.requires_grad else hard

"""A cascade of two stages for frames of a stream: a screen first, and the whole analysis where that is not enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmask_ros.defense.analyzer import (
    SCREENING,
    Analysis,
    Analyzer,
    Evidence,
    ExportedEvidence,
    build_evidence,
    exported_evidence,
)
from zmask_ros.defense.defense import Thresholds
from zmask_ros.defense.evidence.grid import resample
from zmask_ros.defense.evidence.head import head_score
from zmask_ros.defense.evidence.overactivation import Activations
from zmask_ros.defense.profile.profile import Profile
from zmask_ros.defense.segmentation_network import SegmentationNetwork
from zmask_ros.defense.stage_timer import StageTimer
from zmask_ros.defense.streaming.tracking import TrackedPatch

EDGE = 1
"""Cells of the grid around a removed patch in which the analysis sees the edge of the patch, and no second one."""


class Screening(nn.Module):
    """The screen's analysis of a pass, brought to the working grid of the whole analysis.

    Args:
        profile: with a screen.
        exported: what makes its evidence on an inference engine; None: nothing does.
    """

    def __init__(self, profile: Profile, exported: ExportedEvidence | None = None) -> None:
        super().__init__()
        assert profile.screen is not None
        self.layers = profile.screen.head.branch.layers
        self.threshold = profile.screen.threshold.value
        self.grid = profile.grid
        self.evidence = exported or build_evidence(profile.screen.detector(profile.detector), profile.binding)

    def forward(self, taps: Activations, counted: Tensor | None = None) -> Analysis:
        """The screen's evidence and score. Its mask is empty: only the whole analysis says what is to be masked.

        Args:
            taps: activations of the pass.
            counted: [B, 1, *grid], 1 where evidence counts and 0 where it does not; None: it counts everywhere.
        """
        heat: Tensor = self.evidence(taps).shallow
        if counted is not None:
            heat = heat * -F.adaptive_max_pool2d(-counted, (heat.shape[-2], heat.shape[-1]))
        at_grid = resample(heat, self.grid)
        return Analysis(Evidence(at_grid, at_grid), torch.zeros_like(at_grid), head_score(heat))


@dataclass(frozen=True)
class CascadeResult:
    """What the cascade says of B images, outside of patches that are tracked.

    Attributes:
        analysis: of each image the whole one, or the screen's.
        full: of each image, whether it is the whole one.
        thresholds: of its scores.
    """

    analysis: Analysis
    full: list[bool]
    thresholds: Thresholds

    @cached_property
    def attacked(self) -> Tensor:
        """Which images are called an attack, bool [B]."""
        return self.analysis.score > self.thresholds.attack

    @cached_property
    def suspicious(self) -> Tensor:
        """Which images are to be masked, bool [B]."""
        return self.analysis.score > self.thresholds.masking


class Cascade:
    """The screen and the whole analysis, of the activations of one pass.

    Args:
        profile: of ``analyzer``; without a screen, every image is fully analyzed.
        analyzer: the whole analysis.
        segmenter: whose activations they see.
    """

    def __init__(self, profile: Profile, analyzer: Analyzer, segmenter: SegmentationNetwork) -> None:
        self._analyzer = analyzer
        self._edge = profile.detector.growth.edge
        self._layers = profile.detector.layers
        self.screening: Screening | None = None
        if profile.screen is not None:
            exported = exported_evidence(segmenter.network, profile, SCREENING)
            self.screening = Screening(profile, exported).to(segmenter.device)

    def __call__(
        self,
        taps: Activations,
        tracked: Sequence[TrackedPatch | None],
        may_screen: Sequence[bool],
        thresholds: Thresholds,
        timer: StageTimer,
    ) -> CascadeResult:
        """Analyze B images.

        Args:
            taps: activations of the pass.
            tracked: the patch that was removed from each image, or None; evidence in it does not count.
            may_screen: of each image, whether the screen may be enough.
            thresholds: of the analysis; an image that the screen scores above the one for masking is fully analyzed.
            timer: of the frame.
        """
        outside = _outside(tracked)
        if self.screening is None or not any(may_screen):
            analysis = self._analyze(taps, outside)
            timer.mark("analysis")
            return CascadeResult(analysis, [True] * len(may_screen), thresholds)
        screened: Analysis = self.screening(taps, outside)
        # A score that is not a number is not below the threshold.
        below = (screened.score <= min(self.screening.threshold, thresholds.masking)).tolist()
        full = [not (allowed and quiet) for allowed, quiet in zip(may_screen, below, strict=True)]
        timer.mark("screening")
        if not any(full):
            return CascadeResult(screened, full, thresholds)
        analysis = self._analyze(taps, outside) if all(full) else self._analyze_part(taps, outside, screened, full)
        timer.mark("analysis")
        return CascadeResult(analysis, full, thresholds)

    def _analyze(self, taps: Activations, outside: Tensor | None) -> Analysis:
        analysis: Analysis = self._analyzer(taps)
        return analysis if outside is None else analysis.within(outside, self._analyzer.score)

    def _analyze_part(
        self, taps: Activations, outside: Tensor | None, screened: Analysis, full: list[bool]
    ) -> Analysis:
        """``screened``, with the whole analysis of those images where ``full`` is true."""
        where = torch.tensor(full, device=screened.score.device)
        part = {name: taps[name][where] for name in self._layers}
        analyzed = self._analyze(part, None if outside is None else outside[where])
        return replace(screened.updated(where, analyzed), edge=None if self._edge is None else taps[self._edge])


def _outside(tracked: Sequence[TrackedPatch | None]) -> Tensor | None:
    """[B, 1, *grid], 0 in and next to patches that are tracked, otherwise 1; None where none is."""
    regions = [patch.region for patch in tracked if patch is not None]
    if not regions:
        return None
    nothing = torch.zeros_like(regions[0])
    inside = torch.cat([nothing if patch is None else patch.region for patch in tracked]).float()
    return 1 - F.max_pool2d(inside, 2 * EDGE + 1, 1, EDGE)

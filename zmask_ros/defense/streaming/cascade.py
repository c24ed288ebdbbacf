"""How closely a batch of a stream is looked at: at a glance where that is enough, otherwise by the whole analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmask_ros.defense.analyzer import Analysis, Analyzer, Evidence, build_evidence
from zmask_ros.defense.evidence.grid import resample
from zmask_ros.defense.evidence.head import head_score
from zmask_ros.defense.evidence.overactivation import Activations
from zmask_ros.defense.profile.profile import Profile
from zmask_ros.defense.stage_timer import Stages
from zmask_ros.defense.streaming.tracking import Found


class Screening(nn.Module):
    """A glance at the taps of one forward pass; what it says is brought to the working grid of the whole analysis.

    Args:
        profile: with a screening.
    """

    def __init__(self, profile: Profile) -> None:
        super().__init__()
        assert profile.screen is not None
        self.threshold = profile.screen.threshold.value
        self.grid = profile.grid
        self._evidence = build_evidence(profile.screen.detector(profile.detector), profile.binding)

    def forward(self, taps: Activations, beside: Tensor | None = None) -> Analysis:
        """The glance's evidence and score. Its mask is empty: what is to be masked, the whole analysis has to see.

        Args:
            beside: [B, 1, *grid], 1 where evidence counts and 0 where it does not; None: it counts everywhere.
        """
        heat: Tensor = self._evidence(taps).shallow
        if beside is not None:
            heat = heat * -F.adaptive_max_pool2d(-beside, (heat.shape[-2], heat.shape[-1]))
        brought = resample(heat, self.grid)
        return Analysis(Evidence(brought, brought), torch.zeros_like(brought), head_score(heat))


EDGE = 1
"""Cells around a replaced region in which the analysis sees its edge, and no second patch."""


@dataclass(frozen=True)
class Seen:
    """What is seen of B images, beside regions that are found again.

    Attributes:
        analysis: of each image the whole one, or a glance.
        whole: of each image, which of the two.
    """

    analysis: Analysis
    whole: list[bool]


class Looking:
    """Looks at the taps of a pass.

    Args:
        profile: of ``analyser``; without a screening, all is analysed as a whole.
        analyser: the whole analysis.
        device: of the taps.
    """

    def __init__(self, profile: Profile, analyzer: Analyzer, device: torch.device) -> None:
        self._analyser = analyzer
        self._edge = profile.detector.growth.edge
        self._analysed = profile.detector.layers
        self._screening = None if profile.screen is None else Screening(profile).to(device)

    def __call__(
        self,
        taps: Activations,
        found: Sequence[Found | None],
        glances: Sequence[bool],
        masking: float,
        stages: Stages,
    ) -> Seen:
        """Look at B images.

        Args:
            taps: of the pass.
            found: what was taken out of each image: it is not looked at again.
            glances: of each image, whether a glance may be enough.
            masking: the score above which an image is masked; an image above it at a glance is analysed.
            stages: of the frame.
        """
        beside = _beside(found)
        if self._screening is None or not any(glances):
            analysis = self._analyse(taps, beside)
            stages.mark("analysis")
            return Seen(analysis, [True] * len(glances))
        glance: Analysis = self._screening(taps, beside)
        # What is not a number is not calm either.
        calm = (glance.score <= min(self._screening.threshold, masking)).tolist()
        whole = [not (enough and quiet) for enough, quiet in zip(glances, calm, strict=True)]
        stages.mark("screening")
        if not any(whole):
            return Seen(glance, whole)
        analysis = self._analyse(taps, beside) if all(whole) else self._analyse_some(taps, beside, glance, whole)
        stages.mark("analysis")
        return Seen(analysis, whole)

    def _analyse(self, taps: Activations, beside: Tensor | None) -> Analysis:
        analysis: Analysis = self._analyser(taps)
        return analysis if beside is None else analysis.within(beside, self._analyser.score)

    def _analyse_some(self, taps: Activations, beside: Tensor | None, glance: Analysis, whole: list[bool]) -> Analysis:
        where = torch.tensor(whole, device=glance.score.device)
        part = {name: taps[name][where] for name in self._analysed}
        analysed = self._analyse(part, None if beside is None else beside[where])
        return replace(glance.updated(where, analysed), edge=None if self._edge is None else taps[self._edge])


def _beside(found: Sequence[Found | None]) -> Tensor | None:
    """[B, 1, *grid], 0 in and next to regions that are found again, otherwise 1; None where there are none."""
    regions = [one.track.region for one in found if one is not None]
    if not regions:
        return None
    nothing = torch.zeros_like(regions[0])
    inside = torch.cat([nothing if one is None else one.track.region for one in found]).float()
    return 1 - F.max_pool2d(inside, 2 * EDGE + 1, 1, EDGE)

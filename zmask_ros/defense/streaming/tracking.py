"""Finding a known patch again in one shallow layer: adversarial channel attention.

Inspired by Rossolini et al., ICCPS 2024, whose text was not at hand. Once the whole analysis has said where a patch is,
the same frame also says which channels of a shallow layer tell it from the rest of the street. Weighed so, that layer
alone finds the patch in the next frames, while their forward pass is still under way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmask_ros.defense.evidence.grid import Size, layer_grid
from zmask_ros.defense.evidence.head import GroupFeatures, linear
from zmask_ros.defense.evidence.taps import in_single_precision
from zmask_ros.defense.masking.discriminant import discriminant
from zmask_ros.defense.masking.morphology import closed, connected, widened
from zmask_ros.defense.profile.detector import statistics_key
from zmask_ros.defense.profile.profile import Profile

CUTS = (0.3, 0.4, 0.5, 0.6, 0.7)
EVENLY = 0.5
"""Half-way between the street and the patch: the cut where several serve."""
LEAST_OVERLAP = 0.5
"""Intersection over union with the keyframe's region, below which a patch cannot be told from the street."""
LEAST_LEVEL = 0.75
"""Of the attention in a region that is found again, where the keyframe's is about 1."""
MOST_GROWTH = 2.0
"""How many times larger or smaller than at the keyframe a region may be."""
SPEED = 1.0
"""How far a patch may move, in widths of the image a second."""


@dataclass(frozen=True)
class Track:
    """A patch that is known, as the keyframe showed it and where it is now.

    Attributes:
        attention: float [F], weights of the features.
        offset: float [1], added to the weighed features: 0 is the street's mean, 1 the patch's.
        cut: the attention above which a cell belongs to the patch.
        closing: odd window; narrower gaps in the region are closed.
        area: cells of the region at the keyframe.
        score: of the keyframe.
        heat: mean heat of the keyframe's region, at least 0.
        region: bool [1, 1, h, w] on the working grid, where the patch was last.
    """

    attention: Tensor
    offset: Tensor
    cut: float
    closing: Size
    area: int
    score: float
    heat: float
    region: Tensor


@dataclass(frozen=True)
class Found:
    """A patch, found again.

    Attributes:
        track: with the new region.
        level: mean attention in the region, at least `LEAST_LEVEL`.
    """

    track: Track
    level: float

    @property
    def score(self) -> float:
        """The keyframe's score, less where the patch is less like itself."""
        return self.track.score * min(1.0, self.level)


class Tracker(nn.Module):
    """Learns tracks, and finds them again in the features of one layer: its first shallow one.

    Args:
        profile: with the clean statistics of that layer.
    """

    def __init__(self, profile: Profile) -> None:
        super().__init__()
        detector = profile.detector
        self.layer = detector.shallow.layers[0]
        self.grid = profile.grid
        _, height, width = profile.binding.shapes[self.layer]
        statistics = {self.layer: detector.statistics[statistics_key("shallow", self.layer)]}
        own = layer_grid((height, width), self.grid)
        self._features = GroupFeatures(statistics, detector.shallow.kernels, own, self.grid)
        self._closing = detector.growth.closing

    def features(self, activation: Tensor) -> list[Tensor]:
        """Together F features of the layer's activation [B, C, H, W]: each [B, F_i, *grid]."""
        parts = self._features({self.layer: in_single_precision(activation)})
        finer = parts[0].shape[-2:] == self.grid
        return parts if finer else [F.interpolate(part, self.grid, mode="nearest") for part in parts]

    def learn(self, features: list[Tensor], region: Tensor, score: float, heat: float) -> Track | None:
        """The track of a frame's patch, by a linear discriminant between its cells and all others.

        Args:
            features: of the frame.
            region: bool [1, 1, h, w], the patch.
            score, heat: of the frame, and in the region.

        Returns:
            None where no weights tell the region from the rest of the frame well enough to find it again.
        """
        cells, inside = torch.cat(features, 1)[0].flatten(1).T.double(), region.flatten()
        area = int(inside.sum())
        if not 1 < area < len(inside) - 1:
            return None
        attention, offset = discriminant(cells[inside], cells[~inside])
        weights, offsets = attention.to(features[0]), torch.tensor([offset]).to(features[0])
        track = Track(weights, offsets, 0.0, self._closing, area, score, heat, region)
        found = attention_map(track, features)
        overlaps = {cut: _overlap(closed(found > cut, self._closing), region) for cut in CUTS}
        best = max(CUTS, key=lambda cut: (overlaps[cut], -abs(cut - EVENLY)))
        return replace(track, cut=best) if overlaps[best] >= LEAST_OVERLAP else None

    def find(self, features: list[Tensor], track: Track, elapsed_s: float) -> Found | None:
        """The patch of ``track`` in a later frame.

        Args:
            features: of the frame.
            track: from the keyframe, or from the last frame in which it was found.
            elapsed_s: since then, in seconds; the longer, the further off it is looked for.

        Returns:
            None where it is gone, or too unlike what it was to go by this track.
        """
        attention = attention_map(track, features)
        reach = 1 + math.ceil(SPEED * elapsed_s * self.grid[1])
        near = widened(track.region, (2 * reach + 1, 2 * reach + 1))
        # All of what begins within reach: a part of it that is cut off would go on attacking.
        candidates = closed(attention > track.cut, track.closing)
        region = connected(candidates & near, candidates)
        area = int(region.sum())
        if not track.area / MOST_GROWTH <= area <= track.area * MOST_GROWTH:
            return None
        level = float(attention[region].mean())
        return Found(replace(track, region=region), level) if level >= LEAST_LEVEL else None


def attention_map(track: Track, features: list[Tensor]) -> Tensor:
    """[1, 1, h, w] of a frame's features: about 1 on the patch, about 0 elsewhere."""
    return linear(features, track.attention[None], track.offset)


def _overlap(one: Tensor, other: Tensor) -> float:
    return float((one & other).sum() / (one | other).sum().clamp_min(1))

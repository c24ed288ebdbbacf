"""Finding a known patch again in one shallow layer: adversarial channel attention.

Inspired by Rossolini et al., ICCPS 2024, whose text was not at hand. Once the whole analysis has said where a patch is,
the same frame also says which channels of a shallow layer tell it from the rest of the street. Weighted so, that layer
alone finds the patch in the next frames, while their forward pass is still under way.

Eq. 8 is the channel attention a of a cell p, from its features f (squashed z-scores of the layer's channels). The
weights w are Fisher's linear discriminant between the patch and the street of the keyframe, with means m_patch and
m_street, and C, the covariance within both with a ridge:

    a(p) = w . (f(p) - m_street),    w = v / (v . (m_patch - m_street)),    v = C^-1 (m_patch - m_street)

It is about 0 on the street and about 1 on the patch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmask_ros.defense.evidence.grid import Size, layer_grid
from zmask_ros.defense.evidence.head import linear
from zmask_ros.defense.evidence.head_features import GroupFeatures
from zmask_ros.defense.evidence.taps import in_single_precision
from zmask_ros.defense.masking.discriminant import discriminant
from zmask_ros.defense.masking.morphology import binary_closing, binary_dilation, connected_to
from zmask_ros.defense.profile.detector import statistics_key
from zmask_ros.defense.profile.profile import Profile
from zmask_ros.defense.streaming.sighting import intersection_over_union

CUTS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""Attentions above which a cell may belong to the patch; the keyframe decides between them."""
MIDDLE_CUT = 0.5
"""Attention half-way between the street and the patch: the nearest cut is taken where several are equally good."""
LEAST_OVERLAP = 0.5
"""Intersection over union with the keyframe's region, below which a patch cannot be told from the street."""
LEAST_LEVEL = 0.75
"""Least mean attention in a region that is found again; in the keyframe's it is about 1."""
MOST_GROWTH = 2.0
"""Largest ratio, either way, between the area of a region that is found again and the keyframe's."""
SPEED = 1.0
"""How far a patch may move, in widths of the image per second."""


@dataclass(frozen=True)
class PatchTrack:
    """A patch that is known, as the keyframe showed it and where it was last.

    Attributes:
        attention: weights of the features, float [F].
        offset: added to the weighted features, float [1].
        cut: attention above which a cell belongs to the patch.
        closing: odd height and width of a window; narrower gaps in the region are closed.
        area: number of cells of the region at the keyframe.
        score: that the patch may be expected to have.
        heat: mean heat of the keyframe's region, at least 0.
        region: where the patch was last, bool [1, 1, h, w] on the working grid.
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
class TrackSearch:
    """A patch to be found again, and the seconds since it was last seen."""

    track: PatchTrack
    elapsed_s: float


@dataclass(frozen=True)
class TrackedPatch:
    """A patch that is found again.

    Attributes:
        track: with the new region.
        level: mean attention in the region, at least `LEAST_LEVEL`.
    """

    track: PatchTrack
    level: float

    @property
    def region(self) -> Tensor:
        """Where the patch is now, bool [1, 1, h, w] on the working grid."""
        return self.track.region

    @property
    def score(self) -> float:
        """What the whole analysis may be expected to say, lowered where the patch is less like itself."""
        return self.track.score * min(1.0, self.level)


def tracked_layer(profile: Profile) -> str:
    """The layer in which patches are found again: the first of the shallow set S."""
    return profile.detector.shallow.layers[0]


class Tracker(nn.Module):
    """Learns tracks, and finds them again in the features of one layer; see `tracked_layer`.

    Args:
        profile: with the clean statistics of that layer.
    """

    def __init__(self, profile: Profile) -> None:
        super().__init__()
        detector = profile.detector
        self.layer = tracked_layer(profile)
        self.grid = profile.grid
        _, height, width = profile.binding.shapes[self.layer]
        statistics = {self.layer: detector.statistics[statistics_key("shallow", self.layer)]}
        own = layer_grid((height, width), self.grid)
        self._features = GroupFeatures(statistics, detector.shallow.kernels, own, self.grid)
        self._closing = detector.growth.closing

    def features(self, activation: Tensor) -> list[Tensor]:
        """The F features of the layer's activation [B, C, H, W], in several parts, each [B, F_i, *grid]."""
        parts = self._features({self.layer: in_single_precision(activation)})
        at_grid = parts[0].shape[-2:] == self.grid
        return parts if at_grid else [F.interpolate(part, self.grid, mode="nearest-exact") for part in parts]

    def learn(self, features: list[Tensor], region: Tensor, score: float, heat: float) -> PatchTrack | None:
        """The track of a frame's patch, by the linear discriminant of Eq. 8 between its cells and all others.

        Args:
            features: of the frame.
            region: of the patch, bool [1, 1, h, w].
            score: that the patch may be expected to have.
            heat: mean heat in the region.

        Returns:
            None where no weights tell the region from the rest of the frame well enough to find it again.
        """
        cells, inside = torch.cat(features, 1)[0].flatten(1).T.double(), region.flatten()
        area = int(inside.sum())
        if not 1 < area < len(inside) - 1:
            return None
        attention, offset = discriminant(cells[inside], cells[~inside])
        weights, offsets = attention.to(features[0]), torch.tensor([offset]).to(features[0])
        track = PatchTrack(weights, offsets, 0.0, self._closing, area, score, heat, region)
        seen = attention_map(track, features)
        overlaps = {cut: intersection_over_union(binary_closing(seen > cut, self._closing), region) for cut in CUTS}
        best = max(CUTS, key=lambda cut: (overlaps[cut], -abs(cut - MIDDLE_CUT)))
        return replace(track, cut=best) if overlaps[best] >= LEAST_OVERLAP else None

    def find(self, features: list[Tensor], track: PatchTrack, elapsed_s: float) -> TrackedPatch | None:
        """The patch of ``track`` in a later frame.

        Args:
            features: of the frame.
            track: from the keyframe, or from the last frame in which it was found.
            elapsed_s: seconds since then; the longer, the further away it is looked for.

        Returns:
            None where it is gone, or too unlike what it was to go by this track.
        """
        attention = attention_map(track, features)
        reach = 1 + math.ceil(SPEED * elapsed_s * self.grid[1])
        near = binary_dilation(track.region, (2 * reach + 1, 2 * reach + 1))
        # All of what begins within reach: a part of it that is cut off would go on attacking.
        candidates = binary_closing(attention > track.cut, track.closing)
        region = connected_to(candidates & near, candidates)
        area = int(region.sum())
        if not track.area / MOST_GROWTH <= area <= track.area * MOST_GROWTH:
            return None
        level = float(attention[region].mean())
        return TrackedPatch(replace(track, region=region), level) if level >= LEAST_LEVEL else None


def attention_map(track: PatchTrack, features: list[Tensor]) -> Tensor:
    """Eq. 8: the attention a, [1, 1, h, w], of a frame's features; about 1 on the patch, about 0 elsewhere."""
    return linear(features, track.attention[None], track.offset)

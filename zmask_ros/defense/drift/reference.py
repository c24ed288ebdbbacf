"""The reference of drift: stretches of the clean drives, and how far a stretch that was left out lies from the others.

F1 is what is compared: the mean m_c of channel c over the frames of a stretch, and all positions, as a z-score by the
clean statistics of Eq. 1. F2 is the distance of a layer, from its C channels to the nearest clean stretch x_j, where
Sigma is the covariance of the clean stretches:

    x_c = (m_c - mu_c) / sigma_c
    d^2 = min_j (x - x_j)^T (Sigma + r I)^-1 (x - x_j) / C,    r = RIDGE trace(Sigma) / C

What clean stretches do not differ in weighs the most: there another lens, other light or a dirty windshield show, and
another street does not. F3 is the distance from the profile: each layer's in terms of its scale s, which all but
`1 - CLEAN_SHARE` of the stretches do not exceed where they, and what surrounds them in their drive, are left out:

    D^2 = mean over the layers of (d / s)^2
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zmask_ros.defense.drift.observation import STRETCH_FRAMES, DriftState, LayerMeans
from zmask_ros.defense.evidence.statistics import LayerStatistics
from zmask_ros.flags.drift import Drift

RIDGE = 0.1
"""Share of the mean variance of a channel that is added to each."""
LEAST_RIDGE = 1e-6
"""In squared z-scores: the frames of a camera that stands still do not differ."""
CLEAN_SHARE = 0.95
"""Share of the stretches that lie nearer than the distance 1."""
BLOCKS_A_DRIVE = 10
"""Parts of a drive that are left out one after the other: its stretches resemble their neighbors."""
FEWEST_STRETCHES = 5
NO_REFERENCE = "the profile does not say how far clean drives lie from it: fit it again with zmask fit, on more frames"


@dataclass(frozen=True)
class DriftReference:
    """The clean drives, as a profile keeps them.

    Attributes:
        stretches: means of the channels of each stretch, float32 [N, C] by layer name, drive after drive.
        drives: number of stretches of each drive.
        scales: distance, by layer name, that `CLEAN_SHARE` of the stretches do not exceed.
    """

    stretches: LayerMeans
    drives: tuple[int, ...]
    scales: dict[str, float]

    @property
    def finite(self) -> bool:
        """Whether none of its numbers is a NaN or an infinity."""
        return all(map(math.isfinite, self.scales.values())) and all(
            bool(torch.isfinite(means).all()) for means in self.stretches.values()
        )

    def merge(self, other: DriftReference, statistics: dict[str, LayerStatistics]) -> DriftReference | None:
        """The reference of both sets of drives, exactly that of all of them at once; ``statistics`` are of both."""
        stretches = {name: torch.cat([own, other.stretches[name]]) for name, own in self.stretches.items()}
        return drift_reference(stretches, self.drives + other.drives, statistics)


def drift_reference(
    stretches: LayerMeans, drives: tuple[int, ...], statistics: dict[str, LayerStatistics]
) -> DriftReference | None:
    """The reference that these stretches make.

    Args:
        stretches: means of the channels, float32 [N, C] by layer name, drive after drive.
        drives: number of stretches of each drive.
        statistics: clean statistics of the layers.

    Returns:
        None where they are too few.
    """
    if sum(drives) < FEWEST_STRETCHES:
        return None
    living = {name: means for name, means in stretches.items() if bool(statistics[name].alive.any())}
    scales = {name: _scale(z_scores(means, statistics[name]), drives) for name, means in living.items()}
    return DriftReference(living, drives, scales)


def z_scores(means: Tensor, statistics: LayerStatistics) -> Tensor:
    """F1: x, float64 [..., C'], of the means [..., C] of a layer; channels that never vary are left out."""
    alive = statistics.alive
    return (means.double()[..., alive] - statistics.mean[alive]) / statistics.moments.std[0, alive]


def _scale(x: Tensor, drives: Sequence[int]) -> float:
    distances = torch.cat([LayerDistance(x[~block])(x[block]) for block in _blocks(drives)])
    return float(torch.quantile(distances, CLEAN_SHARE).clamp_min(LEAST_RIDGE))


def _blocks(drives: Sequence[int]) -> Iterator[Tensor]:
    """Parts of the drives, each bool [N]: the stretches in it."""
    begin, count = 0, sum(drives)
    for drive in drives:
        for part in torch.arange(begin, begin + drive).tensor_split(min(drive, BLOCKS_A_DRIVE)):
            block = torch.zeros(count, dtype=torch.bool)
            block[part] = True
            yield block
        begin += drive


class LayerDistance:
    """F2, the distance of one layer, computed in the few directions in which N stretches can differ.

    Args:
        x: z-scores of the clean stretches, float64 [N, C].
    """

    def __init__(self, x: Tensor) -> None:
        self._center = x.mean(0)
        _, singular, self._directions = torch.linalg.svd(x - self._center, full_matrices=False)
        variances = singular.square() / len(x)
        self._ridge = max(RIDGE * float(variances.sum()) / x.shape[1], LEAST_RIDGE)
        self._inverse = (variances + self._ridge).rsqrt()
        self._stretches = (x - self._center) @ self._directions.T * self._inverse

    def __call__(self, x: Tensor) -> Tensor:
        """d, float64 [M], of the z-scores [M, C]."""
        offset = x - self._center
        along = offset @ self._directions.T
        # All clean stretches lie in these directions, so what is outside of them is the same for each.
        outside = (offset - along @ self._directions).square().sum(1) / self._ridge
        nearest = torch.cdist(along * self._inverse, self._stretches).amin(1)
        return ((nearest.square() + outside) / x.shape[1]).sqrt()


class DriftMeter:
    """F3: how far a camera's frames are from the profile.

    Args:
        reference: of the profile; None: it has none, and the distance is unknown.
        statistics: clean statistics of the layers of the profile.
    """

    def __init__(self, reference: DriftReference | None, statistics: dict[str, LayerStatistics]) -> None:
        self._reference = reference
        stretches = {} if reference is None else reference.stretches
        self._statistics = {name: statistics[name] for name in stretches}
        self._distances = {name: LayerDistance(z_scores(means, statistics[name])) for name, means in stretches.items()}

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are to be observed; none where the profile has no reference."""
        return tuple(self._distances)

    def __call__(self, state: DriftState) -> Drift:
        """The distance of what was observed of a camera."""
        reference = self._reference
        if reference is None:
            return Drift(frames=state.frames, reason=NO_REFERENCE)
        if state.frames < STRETCH_FRAMES:
            reason = f"only {state.frames} clean frames were observed, and it takes {STRETCH_FRAMES}"
            return Drift(frames=state.frames, reason=reason)
        layers = {
            name: float(distance(z_scores(state.means[name], self._statistics[name])[None])) / reference.scales[name]
            for name, distance in self._distances.items()
        }
        overall = math.sqrt(sum(own**2 for own in layers.values()) / len(layers))
        return Drift(overall, layers, state.frames)

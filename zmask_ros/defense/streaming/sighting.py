"""An attack that whole analyses see again and again: what a camera has to go by before it relies on a track."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from zmask_ros.defense.defense import Thresholds

SAME_PLACE = 0.25
"""Least intersection over union of the regions of two analyses that see the same attack."""
RECENT_ANALYSES = 3
"""Number of analyses before an attack is relied on; the lowest score of the latest is what it is expected to have."""
CLEAR_EXCESS = 3.0
"""Ratio of that score to what clean frames hardly exceed, above which an attack is relied on."""
LOST_AT_ONCE = 2.0
"""False alarms may lose half of their score in one frame: what is relied on would still be an alarm then."""


@dataclass(frozen=True)
class Sighting:
    """An attack in whole analyses of untouched frames, each of which called it one, with no other analysis in between.

    Attributes:
        region: where it is, bool [1, 1, h, w] on the working grid.
        first_ns: time of the first of these analyses, in nanoseconds.
        last_ns: time of the last one.
        scores: of the latest `RECENT_ANALYSES` of them, the last one last.
    """

    region: Tensor
    first_ns: int
    last_ns: int
    scores: tuple[float, ...]

    @property
    def score(self) -> float:
        """What the attack may be expected to score: the lowest of its latest scores."""
        return min(self.scores)

    def clear(self, thresholds: Thresholds) -> bool:
        """Whether it may be relied on: it was seen several times, and clearly enough to be so in the next frames.

        Args:
            thresholds: of the analyses.
        """
        least = max(CLEAR_EXCESS * thresholds.clean, LOST_AT_ONCE * thresholds.attack)
        return len(self.scores) == RECENT_ANALYSES and self.score > least

    @property
    def trusted_s(self) -> float:
        """For how long it may be relied on without another analysis: as long as it has been seen, in seconds."""
        return (self.last_ns - self.first_ns) / 1e9

    def moved(self, region: Tensor) -> Sighting:
        """The same, where it was found by its track."""
        return replace(self, region=region)


def sighted(earlier: Sighting | None, region: Tensor, score: float, stamp_ns: int) -> Sighting:
    """What an analysis that calls a frame an attack makes of what was known.

    Args:
        earlier: of the camera; None: there is none that the frame follows.
        region: that the analysis masks, bool [1, 1, h, w] on the working grid.
        score: of the analysis.
        stamp_ns: time of the frame, in nanoseconds.

    Returns:
        The earlier sighting, prolonged, or a new one where that was in another place.
    """
    if earlier is None or intersection_over_union(earlier.region, region) < SAME_PLACE:
        return Sighting(region, stamp_ns, stamp_ns, (score,))
    return Sighting(region, earlier.first_ns, stamp_ns, (*earlier.scores, score)[-RECENT_ANALYSES:])


def intersection_over_union(one: Tensor, other: Tensor) -> float:
    """Intersection over union of two bool maps, in 0..1."""
    return float((one & other).sum() / (one | other).sum().clamp_min(1))

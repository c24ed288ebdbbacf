"""Bootstrap intervals: how much a figure would vary if other frames, or other drives, had been drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 400
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure with its interval; all NaN where the figure is not defined."""

    value: float
    low: float
    high: float


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    groups: Sequence[Hashable],
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """The percentile bootstrap interval of ``statistic``.

    Args:
        statistic: of frames, given by their indices [M] into 0..N-1; repeated ones count repeatedly.
        groups: of each of N frames, what is drawn as a whole: the frame itself, or its drive. Frames of one drive
            resemble each other, so that drawing them singly gives intervals for that drive only.
        seed: of the draws; equal seeds give equal intervals.
        resamples: number of draws, >= 1.
        level: share of the draws within the interval, in 0..1.

    Raises:
        ValueError: there are no frames.
    """
    if not groups:
        raise ValueError("an interval needs frames")
    members = [np.flatnonzero(chosen) for chosen in _memberships(groups)]
    generator = np.random.default_rng(seed)
    draws = []
    for _ in range(resamples):
        drawn = generator.integers(len(members), size=len(members))
        draws.append(statistic(np.concatenate([members[index] for index in drawn])))
    defined = [value for value in draws if not math.isnan(value)]
    value = statistic(np.arange(len(groups)))
    if not defined or math.isnan(value):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _memberships(groups: Sequence[Hashable]) -> list[np.ndarray]:
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    codes = np.array([numbers[group] for group in groups])
    return [codes == number for number in range(len(numbers))]


def rate_interval(hits: int, count: int) -> Interval:
    """The Wilson interval (95 %) of a share ``hits / count``: unlike the bootstrap, it has a width at 0 and at 1."""
    if not count:
        return Interval(math.nan, math.nan, math.nan)
    z = 1.959963984540054
    share, extra = hits / count, z * z / count
    middle, spread = share + extra / 2, z * math.sqrt(share * (1 - share) / count + extra / (4 * count))
    low = (middle - spread) / (1 + extra) if hits else 0.0
    high = (middle + spread) / (1 + extra) if hits < count else 1.0
    return Interval(share, low, high)

"""Confidence intervals: exact ones for shares, and the bootstrap for all other figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

RESAMPLES, CONFIDENCE = 400, 0.95


@dataclass(frozen=True)
class Interval:
    """A figure with its confidence interval; all NaN where the figure is not defined."""

    value: float
    low: float
    high: float


def bootstrap(statistic: Callable[[np.ndarray], float], groups: Sequence[Hashable], seed: int = 0) -> Interval:
    """The percentile bootstrap interval of ``statistic``, from `RESAMPLES` draws; draws without a figure do not count.

    Args:
        statistic: A function of frames, given by their indices [M] in 0..N-1; repeated indices count repeatedly.
        groups: What is drawn as a whole, for each of N frames: the frame itself, or its drive. Frames of one drive
            resemble each other, so that drawing single frames gives intervals for that drive only.
        seed: Seed of the draws; equal seeds give equal intervals.

    Raises:
        ValueError: There are no frames.
    """
    if not groups:
        raise ValueError("an interval needs frames")
    frames_of: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        frames_of.setdefault(group, []).append(index)
    members = [np.array(indices) for indices in frames_of.values()]
    generator = np.random.default_rng(seed)
    drawn = (generator.integers(len(members), size=len(members)) for _ in range(RESAMPLES))
    draws = [statistic(np.concatenate([members[index] for index in chosen])) for chosen in drawn]
    value = statistic(np.arange(len(groups)))
    if math.isnan(value) or np.isnan(draws).all():
        return Interval(value, math.nan, math.nan)
    low, high = np.nanquantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, float(low), float(high))


def share_interval(hits: int, count: int) -> Interval:
    """The exact interval (Clopper and Pearson, 1934; 95 %) of a share ``hits / count``.

    Unlike the bootstrap's, it has a width at 0 and at 1. It is NaN where ``count`` is 0.
    """
    if not count:
        return Interval(math.nan, math.nan, math.nan)
    return Interval(hits / count, *map(float, binomtest(hits, count).proportion_ci(CONFIDENCE, "exact")))

"""Confidence intervals: exact ones for shares, and the bootstrap for all other figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

RESAMPLES = 400
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure with its confidence interval; all NaN where the figure is not defined."""

    value: float
    low: float
    high: float


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    groups: Sequence[Hashable],
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The percentile bootstrap interval of ``statistic``.

    Args:
        statistic: A function of frames, given by their indices [M] in 0..N-1; repeated indices count repeatedly.
        groups: What is drawn as a whole, for each of N frames: the frame itself, or its drive. Frames of one drive
            resemble each other, so that drawing single frames gives intervals for that drive only.
        seed: Seed of the draws; equal seeds give equal intervals.
        resamples: Number of draws, >= 1.
        confidence: Share of the draws within the interval, 0..1.

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
    draws = []
    for _ in range(resamples):
        drawn = generator.integers(len(members), size=len(members))
        draws.append(statistic(np.concatenate([members[index] for index in drawn])))
    defined = [value for value in draws if not math.isnan(value)]
    value = statistic(np.arange(len(groups)))
    if not defined or math.isnan(value):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


def share_interval(hits: int, count: int) -> Interval:
    """The exact interval (Clopper and Pearson, 1934; 95 %) of a share ``hits / count``.

    Unlike the bootstrap's, it has a width at 0 and at 1. It is NaN where ``count`` is 0.
    """
    if not count:
        return Interval(math.nan, math.nan, math.nan)
    limits = binomtest(hits, count).proportion_ci(CONFIDENCE, "exact")
    return Interval(hits / count, float(limits.low), float(limits.high))

"""Fusion scalars and threshold from clean frames alone."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from zmask_ros.defense.analyzer import Evidence
from zmask_ros.defense.profile.detector import RateInterval, Threshold
from zmask_ros.training.cross_fitting import FEWEST_DRIVES

CLEAN_PIXEL_SHARE = 0.9999
# A patch may stay a little below the hottest clean pixel: score and threshold still tell the frames apart.
MARGIN = 0.85
STEEPNESS = 4.0
SATURATION = 8.0
TAIL_SHARE = 0.1
ENOUGH_EXCEEDANCES = 10
WIDE_MARGIN = 2.0
"""Ratio of patches' scores to the threshold of clean frames: in a narrow one the alarm would miss patches sooner than
it would spare clean frames."""
FOLDS = 5
CONFIDENCE = 0.95


def clean_fusion(evidences: Sequence[Evidence]) -> Tensor:
    """Scalars [8] of a fusion block that opens at the very top of what clean frames reach.

    The gate is half open where the deep heat is near the top of its clean range, and the mask where the gated
    shallow heat is near the top of its own.
    """
    deep = MARGIN * _clean_top([e.deep for e in evidences])
    shallow = MARGIN * _clean_top([e.shallow for e in evidences])
    return opening_at(shallow, deep)


def opening_at(shallow: float, deep: float) -> Tensor:
    """Scalars [8] of a block with its gate half open at the heat ``deep``, its mask at the gated heat ``shallow``."""
    return torch.tensor(
        [STEEPNESS / deep, -STEEPNESS, SATURATION, 0.0, STEEPNESS / shallow, -STEEPNESS, SATURATION, 0.0]
    )


def _clean_top(heats: Sequence[Tensor]) -> float:
    pixels = torch.cat([heat.flatten() for heat in heats]).double()
    rank = max(0, math.ceil(CLEAN_PIXEL_SHARE * pixels.numel()) - 1)
    return max(float(pixels.sort().values[rank]), 1e-12)


def clean_threshold(
    scores: Sequence[float],
    false_alarm_rate: float,
    drives: Sequence[Hashable] | None = None,
    patched: float | None = None,
) -> Threshold:
    """The threshold that clean frames exceed with the probability ``false_alarm_rate``, or a higher one.

    Where the rate is too small to be read off ``scores``, the tail above the highest tenth of each drive is taken to
    fall off exponentially (peaks over threshold), equally fast in all drives, and the drive that reaches highest
    counts: a drive that lies above the others as a whole is no tail of theirs. The threshold is never below the
    highest clean score then.

    A head scores clean frames of drives that it has learned from, or been fitted on, below those of the next drive. So
    where it tells them from patches by a wide margin, the threshold is in the middle of it on a logarithmic scale, as
    far from the one as from the other.

    Args:
        scores: of clean frames that the statistics have not seen, at least one.
        false_alarm_rate: in 0..1, exclusive.
        drives: which drive each of them is of; None: all of one.
        patched: what nearly all frames score with patches; None: nobody knows.
    """
    drives = [None] * len(scores) if drives is None else drives
    value = _in_the_middle(quantile_or_tail(scores, drives, false_alarm_rate), patched)
    interval = rate_interval(scores, false_alarm_rate, drives, patched)
    return Threshold(value, false_alarm_rate, len(scores), max(scores), interval)


def precaution_threshold(scores: Sequence[float], masked_rate: float) -> Threshold:
    """The threshold that a share ``masked_rate`` of clean frames exceeds: their quantile, whatever lies above.

    Unlike an alarm that is false, a mask that is not needed costs little: the tail has no say.

    Args:
        scores: of clean frames that the statistics have not seen, at least one.
        masked_rate: in 0..1, exclusive.
    """
    value = torch.quantile(torch.tensor(scores, dtype=torch.float64), 1 - masked_rate, interpolation="higher")
    return Threshold(float(value), masked_rate, len(scores), max(scores))


def _in_the_middle(threshold: float, patched: float | None) -> float:
    """The threshold raised to halfway towards ``patched`` on a logarithmic scale, if there is a wide margin."""
    if patched is None or patched < WIDE_MARGIN * threshold:
        return threshold
    return math.sqrt(threshold * patched)


def quantile_or_tail(scores: Sequence[float], drives: Sequence[Hashable], false_alarm_rate: float) -> float:
    """What clean frames exceed with this probability, as in `clean_threshold`, which has the arguments."""
    values = torch.tensor(scores, dtype=torch.float64)
    if len(values) * false_alarm_rate >= ENOUGH_EXCEEDANCES:
        return float(torch.quantile(values, 1 - false_alarm_rate, interpolation="higher"))
    starts, excesses = [], []
    for drive in dict.fromkeys(drives):
        own = values[[other == drive for other in drives]]
        share = max(TAIL_SHARE, 1 / len(own))
        start = torch.quantile(own, 1 - share)
        starts.append((float(start), math.log(share / false_alarm_rate)))
        excesses.append(own[own >= start] - start)
    scale = float(torch.cat(excesses).mean())
    return max(*(start + scale * length for start, length in starts), float(values.max()))


def rate_interval(
    scores: Sequence[float],
    false_alarm_rate: float,
    drives: Sequence[Hashable] | None = None,
    patched: float | None = None,
) -> RateInterval | None:
    """What the false-alarm rate of such a threshold may really be.

    Each drive is judged by the threshold that the other drives give; with fewer than `FEWEST_DRIVES` of them, each of
    ``FOLDS`` stretches of ``scores`` by that of the other stretches. The interval is Clopper and Pearson's (1934) for
    the count of false alarms. Neighbouring frames resemble each other, hence drives and stretches and not every n-th
    frame; for the same reason the interval is rather too narrow than too wide.

    Args:
        scores: of held-out clean frames, in their order.
        false_alarm_rate: that was asked for, in 0..1, exclusive.
        drives, patched: as of `clean_threshold`.

    Returns:
        None where there are fewer than two frames a fold.
    """
    # It takes a second to import: commands start without it.
    from scipy.stats import binomtest

    count = len(scores)
    if count < 2 * FOLDS:
        return None
    drives = [None] * count if drives is None else drives
    folds = drives if len(set(drives)) >= FEWEST_DRIVES else [FOLDS * index // count for index in range(count)]
    exceeded = 0
    for left_out in dict.fromkeys(folds):
        kept = [index for index, fold in enumerate(folds) if fold != left_out]
        clean = quantile_or_tail([scores[i] for i in kept], [drives[i] for i in kept], false_alarm_rate)
        threshold = _in_the_middle(clean, patched)
        exceeded += sum(score > threshold for score, fold in zip(scores, folds, strict=True) if fold == left_out)
    limits = binomtest(exceeded, count).proportion_ci(CONFIDENCE, "exact")
    return RateInterval(float(limits.low), float(limits.high), CONFIDENCE, exceeded, count)

"""Fusion scalars and threshold from clean frames alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zmask_ros.defense.analysis import Evidence
from zmask_ros.defense.profile import Threshold

CLEAN_PIXEL_SHARE = 0.9999
# A patch may stay a little below the hottest clean pixel: score and threshold still tell the frames apart.
MARGIN = 0.85
STEEPNESS = 4.0
SATURATION = 8.0
TAIL_SHARE = 0.1
ENOUGH_EXCEEDANCES = 10


def clean_fusion(evidences: Sequence[Evidence]) -> Tensor:
    """Scalars [8] of a fusion block that opens at the very top of what clean frames reach.

    The gate is half open where the deep heat is near the top of its clean range, and the mask where the gated
    shallow heat is near the top of its own.
    """
    deep = MARGIN * _clean_top([e.deep for e in evidences])
    shallow = MARGIN * _clean_top([e.shallow for e in evidences])
    return torch.tensor(
        [STEEPNESS / deep, -STEEPNESS, SATURATION, 0.0, STEEPNESS / shallow, -STEEPNESS, SATURATION, 0.0]
    )


def _clean_top(heats: Sequence[Tensor]) -> float:
    pixels = torch.cat([heat.flatten() for heat in heats]).double()
    rank = max(0, math.ceil(CLEAN_PIXEL_SHARE * pixels.numel()) - 1)
    return max(float(pixels.sort().values[rank]), 1e-12)


def clean_threshold(scores: Sequence[float], false_alarm_rate: float) -> Threshold:
    """The threshold that clean frames exceed with the probability ``false_alarm_rate``.

    Where the rate is too small to be read off ``scores``, the tail above their highest tenth is taken to fall
    off exponentially (peaks over threshold); the threshold is never below the highest clean score then.

    Args:
        scores: of clean frames that the statistics have not seen, at least one.
        false_alarm_rate: in 0..1, exclusive.
    """
    values = torch.tensor(sorted(scores), dtype=torch.float64)
    count, highest = len(values), float(values[-1])
    if count * false_alarm_rate >= ENOUGH_EXCEEDANCES:
        value = float(torch.quantile(values, 1 - false_alarm_rate, interpolation="higher"))
    else:
        share = max(TAIL_SHARE, 1 / count)
        start = torch.quantile(values, 1 - share)
        excess = values[values >= start] - start
        value = max(float(start + excess.mean() * math.log(share / false_alarm_rate)), highest)
    return Threshold(value, false_alarm_rate, count, highest)

"""How well one number tells attacked from clean: of pixels or of frames. Ranks only, so scale does not matter."""

from __future__ import annotations

import torch
from torch import Tensor

THRESHOLDS = 64


def auc(attacked: Tensor, clean: Tensor) -> float:
    """Area under the ROC curve: the probability that an attacked value is above a clean one, ties counting half.

    Args:
        attacked, clean: any shapes, at least one value each.

    Returns:
        0..1; 0.5 says nothing, 1 separates wholly.
    """
    high, low = attacked.flatten().double(), clean.flatten().double().sort().values
    below = torch.searchsorted(low, high)
    not_above = torch.searchsorted(low, high, right=True)
    return float((below + not_above).double().mean() / (2 * len(low)))


def rate_found(attacked: Tensor, clean: Tensor, false_alarm_rate: float) -> float:
    """Share of the attacked values above the threshold that at most ``false_alarm_rate`` of the clean ones exceed.

    With fewer than ``1 / false_alarm_rate`` clean values that threshold is the highest of them.
    """
    ordered = clean.flatten().double().sort(descending=True).values
    threshold = ordered[min(int(false_alarm_rate * len(ordered)), len(ordered) - 1)]
    return float((attacked.flatten().double() > threshold).double().mean())


def best_iou(heat: Tensor, truth: Tensor) -> float:
    """Intersection over union of ``heat`` cut at the one best threshold with the true pixels, all images together.

    Args:
        heat: [...], any values.
        truth: bool, same shape; at least one pixel is True.
    """
    values, wanted = heat.flatten().double(), truth.flatten()
    cuts = torch.quantile(values[wanted], torch.linspace(0, 0.9, THRESHOLDS, dtype=torch.float64))
    total = int(wanted.sum())
    inside, outside = values[wanted].sort().values, values[~wanted].sort().values
    hits = total - torch.searchsorted(inside, cuts)
    spills = len(outside) - torch.searchsorted(outside, cuts)
    return float((hits / (total + spills)).max())

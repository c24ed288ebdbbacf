"""How good a fusion block is, on examples that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense.analyzer import Evidence, score_function
from zmask_ros.defense.evidence.fusion import FusionBlock
from zmask_ros.defense.evidence.grid import maximum_filter
from zmask_ros.defense.masking.growth import Growth, grow
from zmask_ros.defense.masking.rectangles import complete_rectangles
from zmask_ros.defense.masking.soft_region import OPEN
from zmask_ros.training.examples import COVERED, Examples
from zmask_ros.training.fusion import balanced_pixels, mask_loss

THRESHOLDS = 64


def auc(attacked: Tensor, clean: Tensor) -> float:
    """Area under the ROC curve: the probability that an attacked value is above a clean one, ties counting half.

    Args:
        attacked, clean: any shapes, at least one value each.

    Returns:
        0..1; 0.5 says nothing, 1 separates wholly.
    """
    # It brings scipy along, which takes a second to import: commands that compute no AUC start without it.
    from sklearn.metrics import roc_auc_score

    scores = torch.cat([clean.flatten(), attacked.flatten()]).double().cpu().numpy()
    return float(roc_auc_score(np.arange(len(scores)) >= clean.numel(), scores))


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


@dataclass(frozen=True)
class Figures:
    """Figures of a fusion block with a growth and a threshold; all but ``pixel_loss`` in 0..1.

    Attributes:
        pixel_loss: balanced cross-entropy of the soft mask, at least 0; 0.69 is a coin's.
        mask_iou: mean intersection over union of the grown mask and the patch, over attacked frames, on the grid.
        frame_auc: attacked frames against clean ones, by their scores.
        found_at_1_percent, found_at_1_permille: share of the attacked frames above the score that 1 %, or 0.1 %, of
            the clean frames exceed.
        found: share of the attacked frames above the threshold.
        benign_flagged: share of the frames with a benign patch above it.
        gate_in_patches: mean of the gate inside adversarial patches.
        gate_on_hottest: mean of the gate on the hottest shallow cells of frames without one.
    """

    pixel_loss: float
    mask_iou: float
    frame_auc: float
    found_at_1_percent: float
    found_at_1_permille: float
    found: float
    benign_flagged: float
    gate_in_patches: float
    gate_on_hottest: float


@torch.inference_mode()
def figures_of(scalars: Tensor, growth: Growth, threshold: float, examples: Examples) -> Figures:
    """The figures of the fusion block ``scalars`` [8] on ``examples``, which must hold all three kinds of frames."""
    fusion = FusionBlock(scalars)
    scores = frame_scores(scalars, examples)
    attacked, clean = scores[examples.attacked], scores[examples.clean]
    gate = fusion.gate(examples.deep)
    return Figures(
        pixel_loss=mask_loss(scalars, balanced_pixels(examples)),
        mask_iou=mean_iou(scalars, growth, examples.where(examples.attacked)),
        frame_auc=auc(attacked, clean),
        found_at_1_percent=rate_found(attacked, clean, 0.01),
        found_at_1_permille=rate_found(attacked, clean, 0.001),
        found=float((attacked > threshold).float().mean()),
        benign_flagged=float((scores[examples.with_benign] > threshold).float().mean()),
        gate_in_patches=float(gate[examples.truth > COVERED].mean()),
        gate_on_hottest=float(gate[examples.hottest].mean()),
    )


def frame_scores(scalars: Tensor, examples: Examples) -> Tensor:
    """The attack score of each example, [N]."""
    mask = FusionBlock(scalars)(examples.shallow, examples.deep)
    return score_function(examples.learned)(Evidence(examples.shallow, examples.deep), mask)


def mean_iou(
    scalars: Tensor, growth: Growth, attacked: Examples, found: Tensor | None = None, spared: int = 0
) -> float:
    """Mean intersection over union of the grown mask with the patch, both cut at a half.

    Args:
        attacked: examples that hold a patch. Their activations are gone: rectangles count with the street in them.
        found: bool [N], frames that are masked; the others count 0. None: all are.
        spared: cells around a patch that a mask may cover without loss, because refinement cuts them off.
    """
    fusion = FusionBlock(scalars)
    mask = fusion(attacked.shallow, attacked.deep)
    grown = grow(fusion, growth, attacked.shallow, attacked.deep, mask)
    region = complete_rectangles(grown, growth.solid) > OPEN
    truth = attacked.truth > COVERED
    near = maximum_filter(truth.float(), (2 * spared + 1, 2 * spared + 1)) > OPEN
    region = region & (truth | ~near)
    dims = (-3, -2, -1)
    overlap = (region & truth).sum(dims) / (region | truth).sum(dims).clamp_min(1)
    return float((overlap if found is None else overlap * found).mean())

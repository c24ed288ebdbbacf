"""Clean and attacked versions of the same labeled frames through one defense."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.baselines.interface import Baseline
from zmask_ros.evaluation.metrics.segmentation import Confusion, detection_rates
from zmask_ros.runtime.patch_truth import mask_iou


@dataclass(frozen=True)
class PairedFrame:
    """One scene with and without the patch.

    Attributes:
        clean, attacked: uint8 [H, W, 3] RGB.
        labels: uint8 [H, W], 255 = unlabeled; valid outside the patch.
        patch_mask: bool [H, W], the patch's pixels.
    """

    clean: np.ndarray
    attacked: np.ndarray
    labels: np.ndarray
    patch_mask: np.ndarray


@dataclass(frozen=True)
class PairedFigures:
    """What the attack and the defense do; mIoU is over the pixels outside the patch.

    Attributes:
        frames: Number of scenes.
        false_alarm_rate: Share of clean frames that were flagged.
        recall: Share of attacked frames that were flagged.
        mask_iou: Mean over attacked frames, 0 where one was not flagged.
        patch_share: Mean share of the image that the patch covers.
        miou_clean: mIoU undefended on clean frames.
        miou_clean_defended: mIoU defended on clean frames: what false alarms cost.
        miou_attacked: mIoU undefended on attacked frames.
        miou_defended: mIoU defended on attacked frames.
    """

    frames: int
    false_alarm_rate: float
    recall: float
    mask_iou: float
    patch_share: float
    miou_clean: float
    miou_clean_defended: float
    miou_attacked: float
    miou_defended: float


def evaluate_pairs(baseline: Baseline, num_classes: int, pairs: Iterable[PairedFrame]) -> PairedFigures:
    """Run both versions of every scene through ``baseline``, whose network has ``num_classes`` classes.

    Raises:
        ZmaskError: There is no scene, or a frame could not be analyzed.
    """
    clean, clean_defended, attacked, defended = (Confusion(num_classes) for _ in range(4))
    flagged, overlaps, shares = [], [], []
    for pair in pairs:
        outside = ~pair.patch_mask
        for image, plain, own in ((pair.clean, clean, clean_defended), (pair.attacked, attacked, defended)):
            verdict = baseline.process(image)
            plain.add(verdict.undefended, pair.labels, outside)
            own.add(verdict.labels, pair.labels, outside)
            flagged.append(verdict.flagged)
        overlaps.append(mask_iou(verdict.mask, pair.patch_mask))
        shares.append(float(pair.patch_mask.mean()))
    if not overlaps:
        raise ZmaskError("There is no frame to evaluate.")
    recall, false_alarm_rate = detection_rates(np.array(flagged), np.tile([False, True], len(overlaps)))
    mious = (confusion.miou() for confusion in (clean, clean_defended, attacked, defended))
    found = false_alarm_rate, recall, float(np.mean(overlaps)), float(np.mean(shares))
    return PairedFigures(len(overlaps), *found, *mious)

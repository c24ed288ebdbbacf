"""Clean and attacked versions of the same labelled frames through one camera's defence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.metrics.segmentation import Confusion, count_detections, mask_iou
from zmask_ros.flags.flag import FrameState
from zmask_ros.runtime.camera import CameraResult, DefendedCamera, Pictures


@dataclass(frozen=True)
class PairedFrame:
    """One scene with and without the patch.

    Attributes:
        clean, attacked: uint8 [H, W, 3] RGB.
        labels: uint8 [H, W], 255 = unlabelled; true outside the patch.
        patch_mask: bool [H, W], the patch's pixels.
    """

    clean: np.ndarray
    attacked: np.ndarray
    labels: np.ndarray
    patch_mask: np.ndarray


@dataclass(frozen=True)
class PairedFigures:
    """What the attack and the defence do; mIoU is over the pixels outside the patch.

    Attributes:
        frames: number of scenes.
        false_alarm_rate: share of clean frames that were flagged.
        recall: share of attacked frames that were flagged.
        mask_iou: mean over attacked frames, 0 where one was not flagged.
        patch_share: mean share of the image that the patch covers.
        miou_clean: undefended, clean frames.
        miou_clean_defended: defended, clean frames: what false alarms cost.
        miou_attacked: undefended, attacked frames.
        miou_defended: defended, attacked frames.
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


def evaluate_pairs(camera: DefendedCamera, pairs: Iterable[PairedFrame]) -> PairedFigures:
    """Run both versions of every scene through ``camera``.

    Raises:
        ZmaskError: there is no scene, or a frame could not be analysed.
    """
    kinds = ("clean", "clean_defended", "attacked", "defended")
    matrices = {kind: Confusion(len(camera.segmenter.classes)) for kind in kinds}
    flagged: list[bool] = []
    overlaps, shares = [], []
    for pair in pairs:
        outside = ~pair.patch_mask
        for first, second, image in (("clean", "clean_defended", pair.clean), ("attacked", "defended", pair.attacked)):
            result = camera.process_image(image)
            pictures = _pictures(result)
            matrices[first].add(pictures.undefended, pair.labels, outside)
            matrices[second].add(pictures.labels, pair.labels, outside)
            flagged.append(result.state is FrameState.ATTACK)
        overlaps.append(mask_iou(pictures.mask, pair.patch_mask))
        shares.append(float(pair.patch_mask.mean()))
    if not overlaps:
        raise ZmaskError("There is no frame to evaluate.")
    counts = count_detections(np.array(flagged), np.tile([False, True], len(overlaps)))
    return PairedFigures(
        frames=len(overlaps),
        false_alarm_rate=counts.false_alarm_rate,
        recall=counts.recall,
        mask_iou=float(np.mean(overlaps)),
        patch_share=float(np.mean(shares)),
        **{f"miou_{kind}": matrix.miou() for kind, matrix in matrices.items()},
    )


def _pictures(result: CameraResult) -> Pictures:
    if result.pictures is None:
        raise ZmaskError(f"A frame could not be analysed: {result.reason}.")
    return result.pictures

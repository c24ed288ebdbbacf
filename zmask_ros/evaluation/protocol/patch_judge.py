"""What patches do under a profile, from metrics of segmentation: what a preparation compares profiles by."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from zmask_ros.defense import Profile
from zmask_ros.evaluation.baselines.interface import Ours
from zmask_ros.evaluation.metrics.segmentation import Confusion
from zmask_ros.runtime.patch_truth import mask_iou
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.preparation.standing import PatchFigures
from zmask_ros.training.preparation.work import AttackedFrame


class PatchJudge:
    """Says what one kind of patch does: a `zmask_ros.training.preparation.work.Judge`."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter

    def __call__(self, profile: Profile, frames: Sequence[AttackedFrame]) -> PatchFigures:
        """What the patch in ``frames`` does under ``profile``."""
        defense = Ours(self._segmenter, profile)
        attacked, oracle, defended = (Confusion(len(self._segmenter.classes)) for _ in range(3))
        overlaps, flagged = [], []
        for own in frames:
            verdict, outside = defense.process(own.attacked), ~own.patch_mask
            for confusion, labels in ((attacked, own.undefended), (oracle, own.oracle), (defended, verdict.labels)):
                confusion.add(labels, own.truth, outside)
            overlaps.append(mask_iou(verdict.mask, own.patch_mask))
            flagged.append(verdict.flagged)
        return PatchFigures(attacked.miou(), oracle.miou(), defended.miou(), fmean(overlaps), fmean(flagged))

"""What fitting gives a transferable head: the clean range of its descriptors, and the scores of held-out frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense.evidence.descriptors import MODERATE, DescriptorFeatures
from zmask_ros.defense.evidence.head import EvidenceHead, head_score
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.defense.profile.detector import statistics_key
from zmask_ros.training.cross_fitting import CrossFitted, head_under
from zmask_ros.training.plans import FittingPlan

TOP_SHARE = 0.999
"""Share of the clean cells that lie below `MODERATE` deviations, as nearly so of a normal distribution."""


def descriptor_statistics(plan: FittingPlan, frames: Sequence[CrossFitted]) -> dict[str, LayerStatistics]:
    """The clean range of the descriptors of each layer of the plan's head, over all cells of ``frames``.

    By `statistics_key`; a head that sees channels has none.
    """
    if plan.head is None or not plan.head.transfers:
        return {}
    layers = zip(plan.head.branch.layers, zip(*(frame.descriptors for frame in frames), strict=True), strict=True)
    return {statistics_key("descriptors", name): _clean_range(own) for name, own in layers}


def _clean_range(maps: Sequence[Tensor]) -> LayerStatistics:
    """Median and deviation of all cells of maps [1, DESCRIPTORS, h, w], the deviation taken from the upper tail.

    Networks differ in how far their clean cells stray, and a patch has to stand out from the highest of these. The
    logarithm of a nearly silent cell (the sky) lies far below all others: it has no say.
    """
    cells = np.sort(torch.cat([each[0].flatten(1) for each in maps], 1).double().numpy(), axis=1)
    middle, top = (torch.from_numpy(cells[:, int(share * (cells.shape[1] - 1))]) for share in (0.5, TOP_SHARE))
    deviation = (top - middle) / MODERATE
    count = cells.shape[1]
    return LayerStatistics(Moments(count, middle[None], count * deviation.square()[None]))


@torch.inference_mode()
def head_scores(
    plan: FittingPlan, statistics: dict[str, LayerStatistics], frames: Sequence[CrossFitted]
) -> list[float]:
    """The score of each frame by the plan's head, of whatever kind."""
    heats = [frame.heat for frame in frames if frame.heat is not None]
    if heats:
        return [float(head_score(heat)) for heat in heats]
    return descriptor_scores(plan, statistics, frames)


def descriptor_scores(
    plan: FittingPlan, statistics: dict[str, LayerStatistics], frames: Sequence[CrossFitted]
) -> list[float]:
    """The score of each frame by the plan's head, its descriptors standardized by those of all other folds."""
    scores = []
    heads: dict[object, EvidenceHead] = {}
    for frame in frames:
        if frame.fold not in heads:
            others = [other for other in frames if other.fold != frame.fold] or frames
            heads[frame.fold] = head_under(plan, statistics | descriptor_statistics(plan, others))
        head = heads[frame.fold]
        features = cast(DescriptorFeatures, head.features)
        scores.append(float(head_score(head.heat(features.views(frame.descriptors)))))
    return scores

"""The clean range of descriptors and the scores of held-out frames, against doing it anew for each frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from support.tensors import random_tensor
from zmask_ros.defense.analyzer import Evidence
from zmask_ros.defense.evidence.descriptors import DESCRIPTORS, MODERATE, DescriptorFeatures
from zmask_ros.defense.evidence.grid import layer_grid
from zmask_ros.defense.evidence.head import EvidenceHead, head_score
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.defense.profile.detector import statistics_key
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.cross_fitting import CrossFitted, Group
from zmask_ros.training.descriptor_fit import descriptor_scores, descriptor_statistics
from zmask_ros.training.plans import FittingPlan, transfer_plan

LAYER = "2"
"""The only layer of the tiny network that a transferable head takes, in all of its slots."""
NOTHING = Evidence(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))


@pytest.fixture(scope="module")
def plan(segmenter: Segmenter) -> FittingPlan:
    return transfer_plan(segmenter)


def frames_of(plan: FittingPlan, folds: list[int]) -> list[CrossFitted]:
    """Frames whose descriptors lie the higher, the higher the number of their fold."""
    assert plan.head is not None and set(plan.head.branch.layers) == {LAYER}
    size = layer_grid(plan.binding.shapes[LAYER][1:], plan.grid)
    maps = [random_tensor(seed, 1, DESCRIPTORS, *size) + 4 * fold for seed, fold in enumerate(folds)]
    return [
        CrossFitted(NOTHING, (own,) * len(plan.head.branch.layers), None, Group(fold, 0), fold)
        for own, fold in zip(maps, folds, strict=True)
    ]


def cells(frames: list[CrossFitted]) -> np.ndarray:
    """The descriptors of all cells side by side, [DESCRIPTORS, N]."""
    return np.concatenate([frame.descriptors[0][0].flatten(1).double().numpy() for frame in frames], 1)


def clean_range(clean: np.ndarray) -> np.ndarray:
    """The median of [DESCRIPTORS, N], and what one cell in a thousand exceeds."""
    return np.quantile(clean, (0.5, 0.999), axis=1, method="lower")


def slow_score(plan: FittingPlan, frame: CrossFitted, others: list[CrossFitted]) -> float:
    """The score by equation H8, with the clean range of ``others``."""
    assert plan.head is not None
    clean = cells(others)
    raw = frame.descriptors[0].double()
    middle, top = (torch.from_numpy(own)[None, :, None, None] for own in clean_range(clean))
    standardized = (raw - middle) / (top - middle)
    whole = standardized.mean((2, 3), keepdim=True)
    views = [standardized, standardized - whole, whole.expand_as(standardized)]
    squashed = [(view / (1 + view.abs())).float() for view in views]
    any_range = LayerStatistics(Moments(1, torch.zeros(2, 8), torch.ones(2, 8)))
    any_clean = LayerStatistics(Moments(1, torch.zeros(1, DESCRIPTORS), torch.ones(1, DESCRIPTORS)))
    size = plan.binding.shapes[LAYER][1:]
    features = DescriptorFeatures(plan.head.branch, {LAYER: any_range}, {LAYER: any_clean}, {LAYER: size}, plan.grid)
    head = EvidenceHead(plan.head, features)
    return float(head_score(head.heat([squashed] * len(plan.head.branch.layers))))


def test_the_clean_range_is_that_of_all_cells_of_all_frames(plan: FittingPlan) -> None:
    frames = frames_of(plan, [0, 1, 1, 2])
    found = descriptor_statistics(plan, frames)
    assert list(found) == [statistics_key("descriptors", LAYER)]
    moments = found[statistics_key("descriptors", LAYER)].moments
    middle, top = clean_range(cells(frames))
    np.testing.assert_allclose(moments.mean[0].numpy(), middle, rtol=1e-5)
    np.testing.assert_allclose((moments.mean + MODERATE * moments.std)[0].numpy(), top, rtol=1e-5)


def test_silent_cells_do_not_stretch_the_clean_range(plan: FittingPlan) -> None:
    frames = frames_of(plan, [0, 0, 0])
    found = descriptor_statistics(plan, frames)[statistics_key("descriptors", LAYER)].moments
    silent = [replace(own, descriptors=tuple(_with_silence(each) for each in own.descriptors)) for own in frames]
    other = descriptor_statistics(plan, silent)[statistics_key("descriptors", LAYER)].moments
    np.testing.assert_allclose(other.std.numpy(), found.std.numpy(), rtol=0.5)
    assert (other.mean < found.mean).all()


def _with_silence(descriptors: torch.Tensor) -> torch.Tensor:
    """The same where a tenth of the cells lies far below all others."""
    silent = descriptors.clone()
    silent[..., : max(1, silent.shape[-2] // 10), :] = -1000.0
    return silent


def own_statistics(plan: FittingPlan) -> dict[str, LayerStatistics]:
    channels = plan.binding.shapes[LAYER][0]
    return {
        statistics_key("head", LAYER): LayerStatistics(Moments(1, torch.zeros(2, channels), torch.ones(2, channels)))
    }


def test_each_frame_is_scored_by_the_clean_range_of_the_other_folds(plan: FittingPlan) -> None:
    frames = frames_of(plan, [0, 1, 1, 2, 0])
    found = descriptor_scores(plan, own_statistics(plan), frames)
    expected = [slow_score(plan, frame, [o for o in frames if o.fold != frame.fold]) for frame in frames]
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-6)
    together = [slow_score(plan, frame, frames) for frame in frames]
    assert found != pytest.approx(together, rel=1e-2, abs=1e-6)


def test_a_single_fold_is_scored_by_itself(plan: FittingPlan) -> None:
    frames = frames_of(plan, [0, 0, 0])
    found = descriptor_scores(plan, own_statistics(plan), frames)
    assert found == pytest.approx([slow_score(plan, frame, frames) for frame in frames], rel=1e-3, abs=1e-6)

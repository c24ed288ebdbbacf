"""Held-out frames under the statistics of all drives but their own, against doing it anew for each frame."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from support.tiny_network import clean_image
from zmask_ros.defense.analyzer import LayerEvidence
from zmask_ros.defense.evidence.descriptors import LayerDescriptors
from zmask_ros.defense.evidence.grid import area_resample, box_pool, layer_grid, layer_kernel
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.defense.evidence.taps import ActivationTaps
from zmask_ros.defense.profile.detector import statistics_key
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.clean_fit import observe
from zmask_ros.training.cross_fitting import Group, GroupedFrame, GroupedMoments, cross_fit
from zmask_ros.training.plans import FittingPlan, transfer_plan

DRIVES = [Group(drive, stretch) for drive in range(3) for stretch in range(2)]
STRETCHES = [Group(drive, stretch) for drive in range(2) for stretch in range(2)]
FRAMES_A_GROUP = 3


def images(groups: list[Group]) -> list[GroupedFrame]:
    """Frames whose brightness depends on drive and stretch, so that it matters what is left out."""
    frames = []
    for number, group in enumerate(groups):
        for index in range(FRAMES_A_GROUP):
            image = clean_image(10 * number + index) // (1 + group.drive) + 5 * group.stretch
            frames.append(GroupedFrame(image, group))
    return frames


@torch.inference_mode()
def activations(segmenter: Segmenter, frame: GroupedFrame, layers: tuple[str, ...]) -> dict[str, Tensor]:
    with ActivationTaps(segmenter.network, layers) as taps:
        segmenter.logits(segmenter.prepare(frame.image))
        return {name: taps[name] for name in layers}


def grouped(segmenter: Segmenter, plan: FittingPlan, frames: list[GroupedFrame]) -> GroupedMoments:
    moments = GroupedMoments()
    for frame in frames:
        taps = activations(segmenter, frame, tuple(plan.binding.shapes))
        for key, layer, branch in plan.branches:
            moments.add(frame.group, key, observe(taps[layer], branch.kernels, plan.grid))
    return moments


def statistics_of(segmenter: Segmenter, plan: FittingPlan, frames: list[GroupedFrame]) -> dict[str, LayerStatistics]:
    """All cells of all frames side by side."""
    taps = [activations(segmenter, frame, tuple(plan.binding.shapes)) for frame in frames]
    found = {}
    for key, layer, branch in plan.branches:
        own = layer_grid(tuple(taps[0][layer].shape[-2:]), plan.grid)
        maps = area_resample(torch.cat([each[layer] for each in taps]).double(), own)
        versions = [maps, *(box_pool(maps, layer_kernel(kernel, plan.grid, own)) for kernel in branch.kernels)]
        found[key] = LayerStatistics(Moments.of(torch.stack([v.transpose(0, 1).flatten(1) for v in versions])))
    return found


@pytest.mark.parametrize("groups", [DRIVES, STRETCHES], ids=["three drives", "two drives"])
def test_each_frame_is_measured_by_the_others(segmenter: Segmenter, groups: list[Group]) -> None:
    plan = transfer_plan(segmenter)
    assert plan.head is not None
    learned = images(groups)
    held_out = [GroupedFrame(clean_image(500 + index), group) for index, group in enumerate([*groups, *groups])]
    found = cross_fit(segmenter, plan, grouped(segmenter, plan, learned), held_out)
    assert len(found) == len(held_out)
    for frame, own in zip(held_out, found, strict=True):
        by_drive = groups is DRIVES
        assert own.fold == (frame.group.drive if by_drive else frame.group)
        others = [
            other
            for other in learned
            if (other.group.drive != frame.group.drive if by_drive else other.group != frame.group)
        ]
        assert len(others) == FRAMES_A_GROUP * (4 if by_drive else 3)
        statistics = statistics_of(segmenter, plan, others)
        taps = activations(segmenter, frame, tuple(plan.binding.shapes))
        evidence = LayerEvidence(plan.shallow, plan.deep, statistics, plan.grid)(taps)
        torch.testing.assert_close(own.evidence.shallow, evidence.shallow, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(own.evidence.deep, evidence.deep, rtol=1e-3, atol=1e-4)
        for name, descriptors in zip(plan.head.branch.layers, own.descriptors, strict=True):
            size = layer_grid(plan.binding.shapes[name][1:], plan.grid)
            kernel = plan.head.branch.kernels[0]
            slow = LayerDescriptors(statistics[statistics_key("head", name)], kernel, size, plan.grid)(taps[name])
            torch.testing.assert_close(descriptors, slow, rtol=1e-3, atol=1e-3)


def test_what_is_left_out_matters(segmenter: Segmenter) -> None:
    plan = transfer_plan(segmenter)
    moments = grouped(segmenter, plan, images(DRIVES))
    first, second = (
        cross_fit(segmenter, plan, moments, [GroupedFrame(clean_image(7), group)])[0]
        for group in (DRIVES[0], DRIVES[-1])
    )
    assert not torch.allclose(first.descriptors[0], second.descriptors[0], atol=0.05)


def test_a_single_stretch_is_measured_by_itself(segmenter: Segmenter) -> None:
    plan = replace(transfer_plan(segmenter), learned=None)
    (only,) = [Group(0, 0)]
    learned = images([only])
    found = cross_fit(segmenter, plan, grouped(segmenter, plan, learned), [GroupedFrame(clean_image(3), only)])[0]
    statistics = statistics_of(segmenter, plan, learned)
    taps = activations(segmenter, GroupedFrame(clean_image(3), only), tuple(plan.binding.shapes))
    expected = LayerEvidence(plan.shallow, plan.deep, statistics, plan.grid)(taps)
    torch.testing.assert_close(found.evidence.shallow, expected.shallow, rtol=1e-3, atol=1e-4)
    assert found.descriptors == ()


def test_moments_of_all_groups_together_are_those_of_all_frames(segmenter: Segmenter) -> None:
    plan = transfer_plan(segmenter)
    frames = images(DRIVES)
    expected = statistics_of(segmenter, plan, frames)
    for key, own in grouped(segmenter, plan, frames).statistics().items():
        assert own.moments.count == expected[key].moments.count
        torch.testing.assert_close(own.mean, expected[key].mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(own.moments.std, expected[key].moments.std, rtol=1e-4, atol=1e-5)

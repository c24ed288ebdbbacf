"""The naive ways to analyze against ours, where both must say the same."""

from __future__ import annotations

from dataclasses import replace

import torch

from support.profiles import with_changed
from support.tiny_network import clean_image
from zmask_ros.defense import ActivationTaps, Defense, LayerStatistics, Moments
from zmask_ros.defense.analyzer import LayerEvidence
from zmask_ros.evaluation.performance.reference import (
    DEMO_GRID,
    demo_branches,
    demo_evidence,
    naive_evidence,
    slowdowns,
)
from zmask_ros.segmenters import Segmenter


def test_the_naive_analysis_says_the_same_where_nothing_is_resampled(defended: tuple[Segmenter, Defense]) -> None:
    """On a layer as large as the grid both pool the same pixels; the sigmas and the cascade are the same."""
    generator = torch.Generator().manual_seed(0)
    profile = with_changed(defended[1].profile, grid_fraction=1)
    detector = profile.detector
    taps = {name: torch.randn(1, *shape, generator=generator) for name, shape in profile.binding.shapes.items()}
    ours = LayerEvidence(detector.shallow, detector.deep, detector.statistics, profile.grid)(taps)
    naive = naive_evidence(profile, taps)
    torch.testing.assert_close(naive.shallow, ours.shallow, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(naive.deep, ours.deep, rtol=1e-3, atol=1e-4)


def test_a_pass_for_each_layer_says_the_same_inside_with_one_sigma_a_channel(
    defended: tuple[Segmenter, Defense],
) -> None:
    """The demo's poolings have no border and are stretched: only windows of one pixel stay where they are."""
    segmenter, defense = defended
    moments = {
        name: Moments(s.moments.count, s.moments.mean, s.moments.m2[:1].expand_as(s.moments.m2))
        for name, s in defense.profile.detector.statistics.items()
    }
    profile = with_changed(
        defense.profile,
        grid_fraction=1,
        statistics={name: LayerStatistics(own) for name, own in moments.items()},
        shallow=replace(defense.profile.detector.shallow, kernels=((1, 1), (1, 1))),
        deep=replace(defense.profile.detector.deep, kernels=((1, 1),)),
    )
    x = segmenter.prepare(clean_image(3))
    found = demo_evidence(segmenter, profile, (profile.detector.shallow, profile.detector.deep), profile.grid, x)
    with torch.inference_mode(), ActivationTaps(segmenter.network, profile.layers) as taps:
        segmenter.logits(x)
        expected = naive_evidence(profile, taps)
    torch.testing.assert_close(found.shallow, expected.shallow)
    torch.testing.assert_close(found.deep, expected.deep)


def test_the_demos_way_has_its_grid_and_looks_at_shallow_layers_twice(defended: tuple[Segmenter, Defense]) -> None:
    segmenter, defense = defended
    shallow, deep = demo_branches(defense.profile)
    assert (shallow.layers, deep.layers) == (("0",), ("2", "0"))
    assert (len(shallow.kernels), deep.kernels) == (4, shallow.kernels[:2])
    few = replace(shallow, kernels=shallow.kernels[2:]), replace(deep, kernels=shallow.kernels[3:])
    heat = demo_evidence(segmenter, defense.profile, few, DEMO_GRID, segmenter.prepare(clean_image(3)))
    assert heat.shallow.shape == heat.deep.shape == (1, 1, *DEMO_GRID)


def test_slowdowns_are_multiples_of_our_time(defended: tuple[Segmenter, Defense]) -> None:
    segmenter, defense = defended
    factors = slowdowns(segmenter, defense.profile, segmenter.prepare(clean_image(3)), repeats=3, demo=True)
    assert list(factors) == ["naive_analysis", "naive_passes", "naive_demo"]
    assert min(factors.values()) > 0

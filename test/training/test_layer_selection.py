"""Choice of layers: on made-up heat where the right answer is known, and on a network as small as one can be."""

import dataclasses

import numpy as np
import pytest
import torch

from support import tiny_network
from support.counting import CountedProgress
from zmask_ros.defense.evidence.taps import feature_layers
from zmask_ros.training.clean_fit import ProfileFit
from zmask_ros.training.division import Split
from zmask_ros.training.examples import example_images, make_examples
from zmask_ros.training.layer_selection import (
    CandidateHeats,
    candidate_layers,
    choose_branches,
    select_layers,
)
from zmask_ros.training.metrics import auc, frame_scores
from zmask_ros.training.sources import CleanFrame, NamedPatch

MENU = ((7, 7), (5, 5), (3, 3), (1, 1))
GRID = (16, 20)


def observed(**layers) -> CandidateHeats:
    """Heat of ``layers`` on 24 example_images in turns clean, attacked, with a benign patch.

    Each is a function of noise, adversarial and benign coverage, all [N, 1, h, w].
    """
    generator = torch.Generator().manual_seed(0)
    truth, benign = torch.zeros(24, 1, *GRID), torch.zeros(24, 1, *GRID)
    truth[1::3, :, 4:10, 5:12] = 1
    benign[2::3, :, 4:10, 5:12] = 1
    heats = {}
    for name, made in layers.items():
        noise = torch.rand(24, len(MENU), *GRID, generator=generator)
        heats[name] = made(noise, truth, benign).expand(24, len(MENU), *GRID).half()
    return CandidateHeats(heats, truth, benign)


def sharp(noise, truth, benign):
    """Sees where any patch is, to the cell."""
    return noise + 3 * (truth + benign)


def knowing(noise, truth, benign):
    """Fires on adversarial patches alone, but one can hardly say where."""
    anywhere = truth.amax((-2, -1), keepdim=True)
    return noise + 2 * anywhere + 0.5 * truth.roll(4, -1)


def dull(noise, truth, benign):
    return noise


def upper(noise, truth, benign):
    return sharp(noise, truth, benign) * (torch.arange(GRID[0]) < 7)[:, None]


def lower(noise, truth, benign):
    return sharp(noise, truth, benign) * (torch.arange(GRID[0]) >= 7)[:, None]


def test_s_is_what_is_sharp_and_d_is_what_knows():
    choice = choose_branches(observed(dull=dull, knowing=knowing, sharp=sharp), MENU)
    assert choice.shallow.layers == ("sharp",)
    assert choice.deep.layers == ("knowing",)
    assert set(choice.shallow.kernels) <= set(MENU)
    reports = {report.layer: report for report in choice.reports}
    assert reports["sharp"].overlap > 0.95 > reports["knowing"].overlap
    assert reports["sharp"].pixel_auc == 1.0
    assert reports["knowing"].benign_auc > 0.95
    assert reports["sharp"].benign_auc == pytest.approx(0.5, abs=0.1)
    assert reports["dull"].frame_auc < 0.9
    assert reports["sharp"].verdict.startswith("S: best overlap")
    assert "D: best recognition" in reports["knowing"].verdict
    assert reports["dull"].verdict.startswith("not S") and "not D" in reports["dull"].verdict


def test_a_second_layer_is_taken_where_it_adds_something():
    choice = choose_branches(observed(upper=upper, lower=lower, dull=dull), MENU)
    assert set(choice.shallow.layers) == {"upper", "lower"}
    assert any("lifts the overlap" in report.verdict for report in choice.reports)


def test_one_candidate_is_enough():
    choice = choose_branches(observed(sharp=sharp), MENU)
    assert choice.shallow.layers == choice.deep.layers == ("sharp",)


@pytest.fixture(scope="module")
def part() -> Split:
    yellow = np.full((16, 16, 3), (255, 255, 0), np.uint8)
    frames = tuple(tiny_network.clean_image(index) for index in range(40))
    return Split(frames, (NamedPatch("yellow", yellow),), seed=3)


def test_all_layers_are_found_in_one_pass(segmenter):
    runs = []
    grey = torch.zeros(1, 3, 48, 64)

    def forward():
        runs.append(1)
        segmenter.logits(grey)

    shapes = feature_layers(segmenter.network, forward)
    assert shapes == {"0": (6, 48, 64), "1": (6, 48, 64), "2": (8, 48, 64), "3": (3, 48, 64)}
    assert len(runs) == 1
    assert not any(module._forward_hooks for module in segmenter.network.modules())


def test_a_plan_is_chosen_in_one_pass_an_image_and_can_be_fitted(segmenter, part):
    progress, passes = CountedProgress(), []
    handle = segmenter.network.register_forward_hook(lambda *_: passes.append(1))
    try:
        plan, choice = select_layers(segmenter, part, progress)
    finally:
        handle.remove()
    assert progress.done == progress.totals == {"Choosing layers": 60}
    assert len(passes) == 60 + 2  # one to list the layers, one to try all of them
    assert {report.layer for report in choice.reports} == set(candidate_layers(segmenter))
    assert plan.shallow == choice.shallow and plan.deep == choice.deep
    fit = ProfileFit(segmenter, plan)
    fit.add_all(CleanFrame("clean", "/image_raw", index, image) for index, image in enumerate(part.frames))
    profile = fit.finish(0.01)
    examples = make_examples(segmenter, profile, part)
    scores = frame_scores(profile.detector.fusion, examples)
    assert auc(scores[examples.attacked], scores[examples.clean]) > 0.9


def test_each_frame_is_seen_clean_attacked_and_disguised(part):
    kinds = [(bool(one.patch.any()), bool(one.benign.any())) for one in example_images(part)]
    assert kinds == [(False, False), (True, False), (False, True)] * 40
    again = list(example_images(part))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(example_images(part), again, strict=True))
    other = list(example_images(dataclasses.replace(part, seed=4)))
    assert not all(np.array_equal(a.image, b.image) for a, b in zip(again, other, strict=True))

"""Choice of layers: on made-up heat where the right answer is known, and on a network as small as one can be."""

import dataclasses

import numpy as np
import pytest
import torch

from support import tiny_network
from zmask_ros.defense.evidence.taps import feature_layers
from zmask_ros.training.clean_fit import CleanFrame, ProfileFit
from zmask_ros.training.examples import NamedPatch, Part, make_examples, pictures
from zmask_ros.training.figures import auc, frame_scores
from zmask_ros.training.layer_selection import Observed, candidate_layers, choose_layers, choose_plan, choosing_passes

MENU = ((7, 7), (5, 5), (3, 3), (1, 1))
GRID = (16, 20)


def observed(**layers) -> Observed:
    """Heat of ``layers`` on 24 pictures in turns clean, attacked, with a harmless patch.

    Each is a function of noise, adversarial and harmless coverage, all [N, 1, h, w].
    """
    generator = torch.Generator().manual_seed(0)
    truth, harmless = torch.zeros(24, 1, *GRID), torch.zeros(24, 1, *GRID)
    truth[1::3, :, 4:10, 5:12] = 1
    harmless[2::3, :, 4:10, 5:12] = 1
    heats = {}
    for name, made in layers.items():
        noise = torch.rand(24, len(MENU), *GRID, generator=generator)
        heats[name] = made(noise, truth, harmless).expand(24, len(MENU), *GRID).half()
    return Observed(heats, truth, harmless)


def sharp(noise, truth, harmless):
    """Sees where any patch is, to the cell."""
    return noise + 3 * (truth + harmless)


def knowing(noise, truth, harmless):
    """Fires on adversarial patches alone, but one can hardly say where."""
    anywhere = truth.amax((-2, -1), keepdim=True)
    return noise + 2 * anywhere + 0.5 * truth.roll(4, -1)


def dull(noise, truth, harmless):
    return noise


def upper(noise, truth, harmless):
    return sharp(noise, truth, harmless) * (torch.arange(GRID[0]) < 7)[:, None]


def lower(noise, truth, harmless):
    return sharp(noise, truth, harmless) * (torch.arange(GRID[0]) >= 7)[:, None]


def test_s_is_what_is_sharp_and_d_is_what_knows():
    choice = choose_layers(observed(dull=dull, knowing=knowing, sharp=sharp), MENU)
    assert choice.shallow.layers == ("sharp",)
    assert choice.deep.layers == ("knowing",)
    assert set(choice.shallow.kernels) <= set(MENU)
    reports = {report.layer: report for report in choice.reports}
    assert reports["sharp"].overlap > 0.95 > reports["knowing"].overlap
    assert reports["sharp"].pixel_auc == 1.0
    assert reports["knowing"].harmless_auc > 0.95
    assert reports["sharp"].harmless_auc == pytest.approx(0.5, abs=0.1)
    assert reports["dull"].frame_auc < 0.9
    assert reports["sharp"].verdict.startswith("S: best overlap")
    assert "D: best recognition" in reports["knowing"].verdict
    assert reports["dull"].verdict.startswith("not S") and "not D" in reports["dull"].verdict


def test_a_second_layer_is_taken_where_it_adds_something():
    choice = choose_layers(observed(upper=upper, lower=lower, dull=dull), MENU)
    assert set(choice.shallow.layers) == {"upper", "lower"}
    assert any("lifts the overlap" in report.verdict for report in choice.reports)


def test_one_candidate_is_enough():
    choice = choose_layers(observed(sharp=sharp), MENU)
    assert choice.shallow.layers == choice.deep.layers == ("sharp",)


@pytest.fixture(scope="module")
def part() -> Part:
    yellow = np.full((16, 16, 3), (255, 255, 0), np.uint8)
    frames = tuple(tiny_network.clean_image(index) for index in range(40))
    return Part(frames, (NamedPatch("yellow", yellow),), seed=3)


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
    seen, passes = [], []
    handle = segmenter.network.register_forward_hook(lambda *_: passes.append(1))
    try:
        plan, choice = choose_plan(segmenter, part, lambda: seen.append(1))
    finally:
        handle.remove()
    assert len(seen) == choosing_passes(part) == 60
    assert len(passes) == 60 + 3  # one to list the layers, two to bind the default and the chosen plan
    assert {report.layer for report in choice.reports} == set(candidate_layers(segmenter))
    assert plan.shallow == choice.shallow and plan.deep == choice.deep
    fit = ProfileFit(segmenter, plan)
    fit.add_all(CleanFrame("clean", "/image_raw", index, image) for index, image in enumerate(part.frames))
    profile = fit.finish(0.01)
    examples = make_examples(segmenter, profile, part)
    scores = frame_scores(profile.detector.fusion, examples)
    assert auc(scores[examples.attacked], scores[examples.clean]) > 0.9


def test_each_frame_is_seen_clean_attacked_and_disguised(part):
    kinds = [(bool(patch.any()), bool(harmless.any())) for _, patch, harmless in pictures(part)]
    assert kinds == [(False, False), (True, False), (False, True)] * 40
    again = list(pictures(part))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(pictures(part), again, strict=True))
    other = list(pictures(dataclasses.replace(part, seed=4)))
    assert not all(np.array_equal(a[0], b[0]) for a, b in zip(again, other, strict=True))

"""Clean statistics: those of the paper's variant."""

import torch

from support import tiny_network
from zmask_ros.defense import Defense
from zmask_ros.defense.profile.profile import PAPER
from zmask_ros.training.clean_fit import ProfileFit, observe, observe_unpooled
from zmask_ros.training.plans import paper_plan
from zmask_ros.training.sources import CleanFrame


def test_the_papers_plan_has_its_kernels_one_sigma_and_no_growth(segmenter):
    plan = paper_plan(segmenter)
    fit = ProfileFit(segmenter, plan)
    fit.add_all(CleanFrame("clean", "/image_raw", index, tiny_network.clean_image(index)) for index in range(40))
    profile = fit.finish(0.01)
    assert profile.variant == PAPER
    assert [len(profile.detector.shallow.kernels), len(profile.detector.deep.kernels)] == [4, 2]
    assert profile.detector.deep.kernels == profile.detector.shallow.kernels[:2]
    assert set(profile.detector.shallow.layers) < set(profile.detector.deep.layers)
    for statistics in profile.detector.statistics.values():
        assert (statistics.moments.std == statistics.moments.std[0]).all()
    defense = Defense(segmenter, profile)
    image = tiny_network.clean_image(3)
    image[16:32, 24:40] = (255, 255, 0)
    _, analysis = defense.analyze(segmenter.prepare(image))
    torch.testing.assert_close(defense.analyzer.region(analysis) > 0.5, analysis.mask > 0.5)


def test_one_sigma_is_that_of_the_activations():
    activation = torch.randn(1, 5, 12, 16, generator=torch.Generator().manual_seed(0))
    kernels, grid = ((5, 5), (3, 3)), (12, 16)
    own, shared = observe(activation, kernels, grid), observe_unpooled(activation, kernels, grid)
    assert shared.mean.shape == own.mean.shape
    for row in shared.std:
        torch.testing.assert_close(row, own.std[0])
    assert (own.std[1] < 0.8 * own.std[0]).all()

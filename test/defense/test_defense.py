"""The defense as a whole, and gradients through it."""

import pytest
import torch

from support import tiny_network
from support.patched_street import attacked_image
from zmask_ros.defense import Defense, inpaint
from zmask_ros.defense.masking.influence import makes_difference


@pytest.fixture
def defense(segmenter, fitted):
    return Defense(segmenter, fitted)


def batch(segmenter, *images):
    return torch.cat([segmenter.prepare(image) for image in images])


def test_an_attacked_frame_is_flagged_masked_and_segmented_again(defense, segmenter):
    x = batch(segmenter, tiny_network.clean_image(100), attacked_image())
    defended = defense(x)
    assert defended.flagged.tolist() == [False, True]
    assert not defended.mask[0].any()
    assert torch.equal(defended.labels[0], defended.first.labels[0])
    inside = torch.zeros(48, 64, dtype=torch.bool)
    inside[16:32, 24:40] = True
    assert (defended.mask[1] & inside).sum() > 0.5 * defended.mask[1].sum() > 0
    masked = inpaint(x[1:], defended.mask[1:, None].to(x))
    torch.testing.assert_close(defended.labels[1:], segmenter.logits(masked).argmax(1).byte(), rtol=0, atol=0)


def test_a_precaution_that_makes_no_difference_is_taken_back_and_an_attack_never_is(defense, segmenter):
    images = [tiny_network.clean_image(100), *(attacked_image(index=index) for index in range(12))]
    x = batch(segmenter, *images)
    attacked = defense(x)
    assert attacked.suspicious.tolist() == attacked.flagged.tolist() == [False] + [True] * 12
    cell = (48 // defense.profile.grid[0], 64 // defense.profile.grid[1])
    differs = makes_difference(attacked.first.labels, attacked.labels, attacked.mask[:, None].float(), cell)
    assert {False, True} == set(differs[1:].tolist())
    defense.precaution, defense.threshold = defense.threshold, 1e6
    cautious = defense(x)
    assert not cautious.flagged.any()
    assert torch.equal(cautious.suspicious, differs)
    for index, kept in enumerate(differs.tolist()):
        assert torch.equal(cautious.labels[index], (attacked if kept else attacked.first).labels[index])
        assert torch.equal(cautious.mask[index], attacked.mask[index] & kept)


def test_a_clean_batch_costs_no_second_pass(defense, segmenter):
    calls = []
    handle = segmenter.network.register_forward_hook(lambda *_: calls.append(1))
    try:
        defended = defense(batch(segmenter, tiny_network.clean_image(100)))
    finally:
        handle.remove()
    assert len(calls) == 1
    assert "second pass" not in defended.stages_ms


def test_each_image_of_a_batch_is_as_if_it_were_alone(defense, segmenter):
    images = [tiny_network.clean_image(100), attacked_image(), tiny_network.clean_image(7)]
    together = defense(batch(segmenter, *images))
    for i, image in enumerate(images):
        alone = defense(batch(segmenter, image))
        torch.testing.assert_close(together.analysis.score[i : i + 1], alone.analysis.score, rtol=1e-4, atol=1e-5)
        assert torch.equal(together.mask[i], alone.mask[0])


def test_the_score_has_the_gradient_that_differences_say(defense, segmenter):
    segmenter.network.double()
    defense.analyzer.double()
    try:
        x = batch(segmenter, attacked_image()).double().requires_grad_(True)
        _, analysis = defense.analyze(x)
        (gradient,) = torch.autograd.grad(analysis.score.sum(), x)
        direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        step = 1e-6

        def score(offset: float) -> float:
            with torch.no_grad():
                return defense.analyze(x + offset * direction)[1].score.sum().item()

        slope = (score(step) - score(-step)) / (2 * step)
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-3)
        assert abs(slope) > 1e-6
    finally:
        segmenter.network.float()

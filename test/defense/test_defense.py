"""The defense as a whole, and gradients through it."""

import numpy as np
import pytest
import torch

from support import tiny_network
from support.patched_street import attacked_image
from zmask_ros.defense import Defense, inpaint
from zmask_ros.flags.flag import PRECAUTION, FrameState
from zmask_ros.runtime.camera import DefendedCamera


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


def test_a_camera_gives_results_at_the_image_size(tiny):
    camera = DefendedCamera(*tiny)
    image = np.kron(attacked_image(), np.ones((3, 2, 1), np.uint8))
    result = camera.process_image(image)
    assert result.state is FrameState.ATTACK
    assert result.score > result.threshold
    assert result.pictures is not None and result.regions
    for picture in (result.pictures.labels, result.pictures.mask, result.pictures.heat, result.pictures.undefended):
        assert picture.shape == (144, 128)
    assert set(np.unique(result.pictures.mask)) == {0, 255}
    assert result.mask_fraction == pytest.approx((result.pictures.mask > 0).mean())
    assert sum(region.fraction for region in result.regions) == pytest.approx(result.mask_fraction)
    assert all(region.width * region.height >= region.fraction * 144 * 128 for region in result.regions)
    assert list(result.regions) == sorted(result.regions, key=lambda region: -region.fraction)
    assert all(0 < region.score <= result.pictures.heat.max() for region in result.regions)


def test_a_threshold_can_be_changed_at_any_time(tiny):
    camera = DefendedCamera(*tiny)
    camera.threshold = 1e9
    assert camera.process_image(attacked_image()).state is FrameState.CLEAN
    camera.threshold = 0.0
    result = camera.process_image(tiny_network.clean_image(100))
    assert result.state is FrameState.ATTACK
    assert result.threshold == 0.0
    assert result.regions, "what is flagged is masked, too"


def test_what_is_only_suspicious_is_masked_as_a_precaution_and_not_called_an_attack(tiny):
    camera = DefendedCamera(*tiny)
    attacked = camera.process_image(attacked_image())
    camera.threshold, camera.precaution = 2 * attacked.score, attacked.score / 2
    result = camera.process_image(attacked_image())
    assert (result.state, result.reason) == (FrameState.CLEAN, PRECAUTION)
    assert (result.threshold, result.masking_threshold) == (2 * attacked.score, attacked.score / 2)
    np.testing.assert_array_equal(result.pictures.mask, attacked.pictures.mask)
    np.testing.assert_array_equal(result.pictures.labels, attacked.pictures.labels)
    quiet = camera.process_image(tiny_network.clean_image(100))
    assert (quiet.state, quiet.reason, quiet.regions) == (FrameState.CLEAN, "", ())


def test_what_is_an_attack_is_masked_however_high_the_masking_threshold_is(tiny):
    camera = DefendedCamera(*tiny)
    camera.precaution = float("inf")
    result = camera.process_image(attacked_image())
    assert result.state is FrameState.ATTACK and result.regions and not result.reason
    assert result.masking_threshold == result.threshold


def test_activations_that_are_not_finite_are_unknown_and_never_clean(tiny):
    segmenter, profile = tiny
    camera = DefendedCamera(segmenter, profile)
    handle = segmenter.network[0].register_forward_hook(lambda _m, _i, output: output * float("nan"))
    try:
        result = camera.process_image(attacked_image())
    finally:
        handle.remove()
    assert result.state is FrameState.UNKNOWN
    assert "not finite" in result.reason

"""What a camera says of an image: pictures, regions, thresholds, and what is unknown."""

import numpy as np
import pytest

from support import tiny_network
from support.patched_street import attacked_image
from zmask_ros.flags.flag import PRECAUTION, FrameState
from zmask_ros.runtime.camera import DefendedCamera


@pytest.fixture
def camera(segmenter, fitted):
    return DefendedCamera(segmenter, fitted)


def test_a_camera_gives_results_at_the_image_size(camera):
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


def test_a_threshold_can_be_changed_at_any_time(camera):
    camera.defense.threshold = 1e9
    assert camera.process_image(attacked_image()).state is FrameState.CLEAN
    camera.defense.threshold = 0.0
    result = camera.process_image(tiny_network.clean_image(100))
    assert result.state is FrameState.ATTACK
    assert result.threshold == 0.0
    assert result.regions, "what is flagged is masked, too"


def test_what_is_only_suspicious_is_masked_as_a_precaution_and_not_called_an_attack(camera):
    attacked = camera.process_image(attacked_image())
    camera.defense.threshold, camera.defense.precaution = 2 * attacked.score, attacked.score / 2
    result = camera.process_image(attacked_image())
    assert (result.state, result.reason) == (FrameState.CLEAN, PRECAUTION)
    assert (result.threshold, result.masking_threshold) == (2 * attacked.score, attacked.score / 2)
    np.testing.assert_array_equal(result.pictures.mask, attacked.pictures.mask)
    np.testing.assert_array_equal(result.pictures.labels, attacked.pictures.labels)
    quiet = camera.process_image(tiny_network.clean_image(100))
    assert (quiet.state, quiet.reason, quiet.regions) == (FrameState.CLEAN, "", ())


def test_what_is_an_attack_is_masked_however_high_the_masking_threshold_is(camera):
    camera.defense.precaution = float("inf")
    result = camera.process_image(attacked_image())
    assert result.state is FrameState.ATTACK and result.regions and not result.reason
    assert result.masking_threshold == result.threshold


def test_activations_that_are_not_finite_are_unknown_and_never_clean(camera, segmenter):
    handle = segmenter.network[0].register_forward_hook(lambda _m, _i, output: output * float("nan"))
    try:
        result = camera.process_image(attacked_image())
    finally:
        handle.remove()
    assert result.state is FrameState.UNKNOWN
    assert "not finite" in result.reason

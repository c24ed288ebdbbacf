"""One camera's frames through the defence: batches, and what is not finite."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from support import tiny_network
from support.patched_street import attacked_image
from zmask_ros.defense import CameraState, Profile, load_profile
from zmask_ros.flags.flag import PRECAUTION, FrameState
from zmask_ros.io.images.codec import encode
from zmask_ros.runtime.camera import CameraResult, CameraStream, DefendedCamera
from zmask_ros.segmenters import Segmenter, load_segmenter


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Segmenter, Profile]:
    description = tiny_network.describe(tmp_path_factory.mktemp("tiny"))
    return load_segmenter(str(description), "cpu"), load_profile(tiny_network.fit(description))


@pytest.fixture
def camera(tiny: tuple[Segmenter, Profile]) -> DefendedCamera:
    return DefendedCamera(*tiny)


def image_fields(image: np.ndarray) -> SimpleNamespace:
    """What `decode` needs of a message."""
    return SimpleNamespace(**vars(encode(image, "rgb8")))


def test_an_output_that_is_not_finite_is_unknown_and_its_neighbours_are_not(tiny: tuple[Segmenter, Profile]) -> None:
    """The tapped activations are finite, and argmax gives some label for a NaN as well."""
    segmenter, profile = tiny
    camera = DefendedCamera(segmenter, profile)
    images = [image_fields(tiny_network.clean_image(index)) for index in range(3)]

    def spoil(_module: Any, inputs: Any, output: Any) -> Any:
        marked = inputs[0].new_zeros(len(output), 1, 1, 1)
        broken = segmenter.prepare(tiny_network.clean_image(1))
        expected = segmenter.network[:3](broken)
        marked[[bool(torch.allclose(entry, expected[0], atol=1e-5)) for entry in inputs[0]]] = float("nan")
        return output + marked

    handle = segmenter.network[3].register_forward_hook(spoil)
    try:
        states = [result.state for result in camera.process_batch(images)]
    finally:
        handle.remove()
    assert states == [FrameState.CLEAN, FrameState.UNKNOWN, FrameState.CLEAN]


def test_a_batch_says_what_each_frame_alone_says(tiny: tuple[Segmenter, Profile]) -> None:
    camera = DefendedCamera(*tiny)
    larger = np.kron(attacked_image(), np.ones((2, 2, 1), np.uint8))
    images = [image_fields(image) for image in (tiny_network.clean_image(0), attacked_image(), larger)]
    images.insert(1, SimpleNamespace(**{**vars(images[0]), "encoding": "rgb9"}))
    together, alone = camera.process_batch(images), [camera.process(image) for image in images]
    assert [result.state for result in together] == [result.state for result in alone]
    assert together[1].state is FrameState.UNKNOWN
    for one, other in zip(together, alone, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-3, nan_ok=True)
        assert one.mask_fraction == pytest.approx(other.mask_fraction, abs=0.01)


def test_a_stream_segments_a_known_patch_once_and_forgets_it_when_a_bag_begins_anew(
    tiny: tuple[Segmenter, Profile],
) -> None:
    camera, stream = DefendedCamera(*tiny), CameraStream()

    def see(image: np.ndarray, milliseconds: int) -> CameraResult:
        message = image_fields(image)
        message.header = SimpleNamespace(stamp=SimpleNamespace(sec=7, nanosec=milliseconds * 1_000_000))
        return camera.process(message, stream)

    results = [see(attacked_image(), t) for t in (100, 133, 166, 199, 100, 133)]
    assert [result.tracked for result in results] == [False, False, False, True, False, False]
    assert all(result.state is FrameState.ATTACK for result in results)
    assert all(result.regions and result.mask_fraction > 0 for result in results)
    assert "second pass" not in results[3].stages_ms
    gone = see(tiny_network.clean_image(4), 166)
    assert (gone.state, gone.tracked) == (FrameState.CLEAN, False)
    assert camera.process_image(attacked_image()).tracked is False


def test_a_frame_that_fails_leaves_the_memory_as_it_is(tiny: tuple[Segmenter, Profile]) -> None:
    segmenter, profile = tiny
    camera, stream = DefendedCamera(segmenter, profile), CameraStream()
    message = image_fields(attacked_image())
    message.header = SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=0))
    assert camera.process(message, stream).state is FrameState.ATTACK
    before = stream.state
    handle = segmenter.network[3].register_forward_hook(lambda _module, _inputs, output: output * float("nan"))
    try:
        assert camera.process(message, stream).state is FrameState.UNKNOWN
    finally:
        handle.remove()
    assert stream.state is before


def test_an_image_of_one_pixel_and_a_huge_one_are_analyzed(tiny: tuple[Segmenter, Profile]) -> None:
    camera = DefendedCamera(*tiny)
    for height, width in ((1, 1), (4320, 7680)):
        result = camera.process_image(np.full((height, width, 3), 127, np.uint8))
        assert result.state is not FrameState.UNKNOWN
        assert result.pictures is not None and result.pictures.labels.shape == (height, width)


def test_a_camera_gives_results_at_the_image_size(camera: DefendedCamera) -> None:
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


def test_a_threshold_can_be_changed_at_any_time(camera: DefendedCamera) -> None:
    camera.defense.threshold = 1e9
    assert camera.process_image(attacked_image()).state is FrameState.CLEAN
    camera.defense.threshold = 0.0
    result = camera.process_image(tiny_network.clean_image(100))
    assert result.state is FrameState.ATTACK
    assert result.threshold == 0.0
    assert result.regions, "what is flagged is masked, too"


def test_what_is_only_suspicious_is_masked_as_a_precaution_and_not_called_an_attack(camera: DefendedCamera) -> None:
    attacked = camera.process_image(attacked_image())
    camera.defense.threshold, camera.defense.precaution = 2 * attacked.score, attacked.score / 2
    result = camera.process_image(attacked_image())
    assert (result.state, result.reason) == (FrameState.CLEAN, PRECAUTION)
    assert (result.threshold, result.masking_threshold) == (2 * attacked.score, attacked.score / 2)
    np.testing.assert_array_equal(result.pictures.mask, attacked.pictures.mask)
    np.testing.assert_array_equal(result.pictures.labels, attacked.pictures.labels)
    quiet = camera.process_image(tiny_network.clean_image(100))
    assert (quiet.state, quiet.reason, quiet.regions) == (FrameState.CLEAN, "", ())


def test_what_is_an_attack_is_masked_however_high_the_masking_threshold_is(camera: DefendedCamera) -> None:
    camera.defense.precaution = float("inf")
    result = camera.process_image(attacked_image())
    assert result.state is FrameState.ATTACK and result.regions and not result.reason
    assert result.masking_threshold == result.threshold


def test_activations_that_are_not_finite_are_unknown_and_never_clean(
    camera: DefendedCamera, tiny: tuple[Segmenter, Profile]
) -> None:
    handle = tiny[0].network[0].register_forward_hook(lambda _m, _i, output: output * float("nan"))
    try:
        result = camera.process_image(attacked_image())
    finally:
        handle.remove()
    assert result.state is FrameState.UNKNOWN
    assert "not finite" in result.reason


@pytest.fixture(scope="module")
def familiar(tmp_path_factory: pytest.TempPathFactory) -> tuple[Segmenter, Profile]:
    description = tiny_network.describe(tmp_path_factory.mktemp("familiar"))
    return load_segmenter(str(description), "cpu"), load_profile(tiny_network.fit_long(description))


def drift_after(camera: DefendedCamera, stream: CameraStream, images: list[np.ndarray]) -> float:
    for image in images:
        camera.process_image(image, stream, 0)
    return stream.drift.distance


@pytest.mark.parametrize("state", [CameraState(), None], ids=["streaming", "full"])
def test_a_darker_camera_is_further_from_the_profile_and_no_verdict_depends_on_it(
    familiar: tuple[Segmenter, Profile], state: CameraState | None
) -> None:
    camera = DefendedCamera(*familiar, observed_every=1)
    images = [tiny_network.clean_image(index) for index in range(300, 330)]
    calm = drift_after(camera, CameraStream(state), images)
    stream = CameraStream(state)
    assert drift_after(camera, stream, [image // 8 for image in images]) > 1.5 > calm
    assert calm < 1.0
    alone = camera.process_image(images[0])
    assert alone.drift is None
    again = camera.process_image(images[0], CameraStream(state=None))
    assert (again.state, again.score) == (alone.state, alone.score)


def test_what_is_flagged_or_masked_is_not_observed(familiar: tuple[Segmenter, Profile]) -> None:
    camera, stream = DefendedCamera(*familiar, observed_every=1), CameraStream(state=None)
    assert camera.process_image(attacked_image(), stream).state is FrameState.ATTACK
    camera.defense.threshold, camera.defense.precaution = 1e9, 0.0
    assert camera.process_image(attacked_image(), stream).reason == PRECAUTION
    assert stream.observed.frames == 0
    camera.defense.precaution = 1e9
    camera.process_image(tiny_network.clean_image(3), stream)
    assert stream.observed.frames == 1


def test_each_fifth_frame_is_observed_and_none_where_that_is_turned_off(familiar: tuple[Segmenter, Profile]) -> None:
    images = [tiny_network.clean_image(index) for index in range(300, 316)]
    for every, frames in ((5, 4), (0, 0)):
        camera, stream = DefendedCamera(*familiar, observed_every=every), CameraStream()
        drift_after(camera, stream, images)
        assert stream.observed.frames == frames

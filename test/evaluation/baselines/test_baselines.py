"""The baselines against slow versions written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from support import obvious
from support.tiny_network import clean_image, describe, fit
from zmask_ros.defense import Defense, Profile, inpaint, load_profile
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.baselines.interface import (
    LearningBaseline,
    Ours,
    PlainThreshold,
    SingleLayer,
    segment,
    set_threshold,
)
from zmask_ros.evaluation.baselines.published_defenses import LocalGradientSmoothing, channel_mean, hyperneuron
from zmask_ros.evaluation.baselines.registry import COMPARED
from zmask_ros.evaluation.metrics.records import Verdict
from zmask_ros.flags.flag import FrameState
from zmask_ros.runtime.camera import DefendedCamera, labels_without
from zmask_ros.segmenters import Segmenter, load_segmenter


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> tuple[Segmenter, Profile]:
    description = describe(tmp_path_factory.mktemp("network"))
    return load_segmenter(str(description), "cpu"), load_profile(fit(description))


def attacked() -> np.ndarray:
    image = clean_image(3)
    image[10:30, 20:44] = np.random.default_rng(0).integers(0, 2, (20, 24, 3)) * 255
    return image


def activation(segmenter: Segmenter, image: np.ndarray) -> np.ndarray:
    x = segmenter.prepare(image)
    for module in list(segmenter.network.children())[:3]:
        x = module(x)
    return x.detach().double().numpy()[0]


@torch.no_grad()
def labels_of(segmenter: Segmenter, x: torch.Tensor) -> np.ndarray:
    return segmenter.network(x).argmax(1)[0].byte().numpy()


def test_no_defense_is_the_network(subject: tuple[Segmenter, Profile]) -> None:
    verdict = Verdict.unmasked(segment(subject[0], attacked()))
    np.testing.assert_array_equal(verdict.labels, labels_of(subject[0], subject[0].prepare(attacked())))
    assert not verdict.flagged and not verdict.mask.any()


def test_ours_is_what_the_node_runs(subject: tuple[Segmenter, Profile]) -> None:
    ours, camera = Ours(*subject), DefendedCamera(*subject)
    assert ours.threshold == subject[1].detector.threshold.value
    for threshold in (1e-9, 1e9):
        ours.threshold = camera.defense.threshold = threshold
        verdict, expected = ours.process(attacked()), camera.process_image(attacked())
        assert expected.pictures is not None
        assert verdict.flagged is (expected.state is FrameState.ATTACK) is (threshold < 1)
        assert verdict.score == expected.score
        np.testing.assert_array_equal(verdict.labels, expected.pictures.labels)
        np.testing.assert_array_equal(verdict.mask, expected.pictures.mask > 0)


@pytest.mark.parametrize("size", [(48, 64), (96, 128)])
def test_oracle_fills_exactly_the_patch(subject: tuple[Segmenter, Profile], size: tuple[int, int]) -> None:
    segmenter = subject[0]
    image = np.repeat(np.repeat(attacked(), size[0] // 48, 0), size[1] // 64, 1)
    mask = np.zeros(size, bool)
    mask[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = True
    x = segmenter.prepare(image)
    hidden = torch.zeros(1, 1, 48, 64)
    hidden[..., 12:24, 16:32] = 1
    small = labels_of(segmenter, inpaint(x, hidden))
    expected = np.repeat(np.repeat(small, size[0] // 48, 0), size[1] // 64, 1)
    np.testing.assert_array_equal(labels_without(segmenter, image, mask), expected)


def test_plain_threshold_masks_where_shallow_heat_exceeds_it(subject: tuple[Segmenter, Profile]) -> None:
    segmenter = subject[0]
    plain = PlainThreshold(*subject)
    quiet = plain.process(attacked())
    with torch.inference_mode():
        heat = Defense(*subject).analyze(segmenter.prepare(attacked()))[1].evidence.shallow[0, 0].numpy()
    assert quiet.score == pytest.approx(float(heat.max()))
    assert not quiet.flagged
    np.testing.assert_array_equal(quiet.labels, segment(segmenter, attacked()))
    plain.threshold = float(np.quantile(heat, 0.8))
    loud = plain.process(attacked())
    cell = 48 // heat.shape[0]
    expected = np.repeat(np.repeat(heat > plain.threshold, cell, 0), cell, 1)
    np.testing.assert_array_equal(loud.mask, expected)
    x = inpaint(segmenter.prepare(attacked()), torch.from_numpy(expected)[None, None].float())
    np.testing.assert_array_equal(loud.labels, labels_of(segmenter, x))
    np.testing.assert_array_equal(loud.undefended, quiet.labels)


@pytest.mark.parametrize("channels", ["all", "mean"])
def test_feature_detectors_are_mean_z_scores(subject: tuple[Segmenter, Profile], channels: str) -> None:
    segmenter = subject[0]
    detector = hyperneuron(*subject) if channels == "all" else channel_mean(*subject)
    with pytest.raises(ZmaskError, match="has not seen"):
        detector.process(clean_image(0))
    with pytest.raises(ZmaskError, match="at least two"):
        detector.fit([clean_image(0)])
    images = [clean_image(index) for index in range(12)]
    detector.fit(images)

    def features(image: np.ndarray) -> np.ndarray:
        values = activation(segmenter, image)
        return values if channels == "all" else values.mean(0)

    clean = np.stack([features(image) for image in images])
    z = (features(attacked()) - clean.mean(0)) / clean.std(0)
    assert detector.process(attacked()).score == pytest.approx(np.abs(z).mean(), rel=1e-4)
    np.testing.assert_array_equal(detector.process(attacked()).labels, segment(segmenter, attacked()))


def yellow() -> np.ndarray:
    """A color that no clean image has."""
    image = clean_image(3)
    image[10:30, 20:44] = (255, 255, 0)
    return image


def test_a_single_layer_is_masked_where_clean_cells_do_not_reach(subject: tuple[Segmenter, Profile]) -> None:
    segmenter = subject[0]
    baseline = COMPARED["single layer"].make(*subject)
    assert isinstance(baseline, SingleLayer) and isinstance(baseline, LearningBaseline)
    assert baseline.layer == subject[1].detector.shallow.layers[-1]
    baseline = SingleLayer(segmenter, "2")
    with pytest.raises(ZmaskError, match="have not seen"):
        baseline.process(clean_image(0))
    with pytest.raises(ZmaskError, match="there is none"):
        baseline.fit([])
    images = [clean_image(index) for index in range(12)]
    baseline.fit(images)

    def cells(image: np.ndarray) -> np.ndarray:
        return obvious.area_resample(activation(segmenter, image), (6, 8))

    clean = np.stack([cells(image) for image in images])
    mean, sigma = (f(clean, axis=(0, 2, 3))[:, None, None] for f in (np.mean, np.std))
    heat = np.abs((cells(yellow()) - mean) / sigma).mean(0)
    cut = np.quantile(np.abs((clean - mean) / sigma).mean(1), 0.999)
    assert 0 < (heat > cut).sum() < heat.size
    quiet = baseline.process(yellow())
    # Three hundredths of 48 cells are one.
    assert quiet.score == pytest.approx(heat.max(), rel=1e-4)
    assert not quiet.flagged and not quiet.mask.any()
    np.testing.assert_array_equal(quiet.labels, segment(segmenter, yellow()))
    baseline.threshold = 0.9 * quiet.score
    loud = baseline.process(yellow())
    expected = np.repeat(np.repeat(heat > cut, 8, 0), 8, 1)
    assert loud.flagged
    np.testing.assert_array_equal(loud.mask, expected)
    x = inpaint(segmenter.prepare(yellow()), torch.from_numpy(expected)[None, None].float())
    np.testing.assert_array_equal(loud.labels, labels_of(segmenter, x))
    np.testing.assert_array_equal(loud.undefended, quiet.labels)


def test_thresholds_keep_clean_frames_quiet(subject: tuple[Segmenter, Profile]) -> None:
    detector, images = PlainThreshold(*subject), [clean_image(index) for index in range(50, 70)]
    set_threshold(detector, images, 0.001)
    scores = [detector.process(image).score for image in images]
    assert detector.threshold >= max(scores)
    assert not any(detector.process(image).flagged for image in images)
    strict = detector.threshold
    set_threshold(detector, images, 0.2)
    assert min(scores) < detector.threshold < strict


def test_gradient_smoothing_by_hand(subject: tuple[Segmenter, Profile]) -> None:
    smoothing = LocalGradientSmoothing(subject[0])
    flat = np.full((48, 64, 3), 90, np.uint8)
    assert not smoothing.suppression(flat).any()
    stripes = flat.copy()
    stripes[20:35, 30:45:2] = 190
    suppressed = smoothing.suppression(stripes)
    gray = stripes.astype(float).mean(2)
    magnitude = np.hypot(np.diff(gray, axis=0, append=gray[-1:]), np.diff(gray, axis=1, append=gray[:, -1:]))
    gradient = magnitude / magnitude.max()
    dense = np.zeros(gradient.shape, bool)
    for top in (0, 10, 20, 30, 33):
        for left in (0, 10, 20, 30, 40, 49):
            if gradient[top : top + 15, left : left + 15].mean() > 0.1:
                dense[top : top + 15, left : left + 15] = True
    assert dense[25, 37] and not dense[:5].any()
    np.testing.assert_allclose(suppressed, np.clip(2.3 * gradient * dense, 0, 1))
    verdict = smoothing.process(stripes)
    assert verdict.score == pytest.approx(suppressed.mean())
    np.testing.assert_array_equal(verdict.mask, suppressed > 0.5)
    smoothed = np.clip(stripes * (1 - suppressed[..., None]), 0, 255).round().astype(np.uint8)
    np.testing.assert_array_equal(verdict.labels, segment(subject[0], smoothed))

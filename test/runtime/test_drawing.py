"""What is drawn for people: overlays, contact sheets, text."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from zmask_ros.flags.flag import FrameState
from zmask_ros.runtime.drawing import STATE_COLORS, colorize, contact_sheet, overlay

HEIGHT, WIDTH = 480, 640
YELLOW = np.array([255, 225, 0])


@pytest.fixture
def image() -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), (90, 120, 150), np.uint8)


@pytest.fixture
def labels_rgb() -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), (128, 64, 128), np.uint8)


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[200:300, 100:250] = 255
    return mask


def share_of(picture: np.ndarray, color: np.ndarray | tuple[int, int, int]) -> float:
    return float((np.abs(picture.astype(int) - color).max(axis=-1) <= 2).mean())


def test_colorize_looks_every_label_up() -> None:
    palette = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    labels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    assert np.array_equal(colorize(labels, palette), palette[labels])


def test_outside_of_the_mask_the_segmentation_shines_through(
    image: np.ndarray, labels_rgb: np.ndarray, mask: np.ndarray
) -> None:
    drawn = overlay(image, labels_rgb, mask, 2.0, 1.0, FrameState.ATTACK)
    assert np.abs(drawn[400, 600].astype(int) - [109, 92, 139]).max() <= 1
    assert drawn.shape == image.shape


def test_the_masked_region_is_hatched_over_the_image(
    image: np.ndarray, labels_rgb: np.ndarray, mask: np.ndarray
) -> None:
    region = overlay(image, labels_rgb, mask, 2.0, 1.0, FrameState.ATTACK)[206:294, 106:244]
    assert 0.15 < share_of(region, YELLOW) < 0.4
    assert share_of(region, image[0, 0]) > 0.5
    without = overlay(image, labels_rgb, np.zeros_like(mask), 0.5, 1.0, FrameState.CLEAN)
    assert share_of(without, YELLOW) == 0


def test_a_mask_of_ones_or_of_truth_looks_the_same(image: np.ndarray, labels_rgb: np.ndarray, mask: np.ndarray) -> None:
    expected = overlay(image, labels_rgb, mask, 2.0, 1.0, FrameState.ATTACK)
    for same in (mask // 255, mask > 0):
        assert np.array_equal(overlay(image, labels_rgb, same, 2.0, 1.0, FrameState.ATTACK), expected)


@pytest.mark.parametrize("state", STATE_COLORS)
def test_the_banner_has_the_color_of_the_state(image: np.ndarray, state: FrameState) -> None:
    drawn = overlay(image, None, None, math.nan, 0.5, state)
    assert tuple(drawn[1, 1]) == STATE_COLORS[state]
    assert np.array_equal(drawn[60:], image[60:])


def test_the_gauge_passes_its_middle_when_the_score_passes_the_threshold(image: np.ndarray) -> None:
    lengths = [
        int(
            (
                np.abs(
                    overlay(image, None, None, score, 1.0, FrameState.ATTACK)[13, 300:].astype(int)
                    - STATE_COLORS[FrameState.ATTACK]
                ).max(axis=-1)
                == 0
            ).sum()
        )
        for score in (0.0, 0.9, 1.1, 2.0, 50.0)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] == 0
    assert lengths[3] == lengths[4] > 2 * lengths[1]


def test_the_input_is_not_drawn_on(image: np.ndarray, labels_rgb: np.ndarray, mask: np.ndarray) -> None:
    before = image.copy(), labels_rgb.copy(), mask.copy()
    image.setflags(write=False)
    overlay(image, labels_rgb, mask, 2.0, 1.0, FrameState.ATTACK)
    overlay(image, None, None, 2.0, 1.0, FrameState.ATTACK)
    for now, then in zip((image, labels_rgb, mask), before, strict=True):
        assert np.array_equal(now, then)


@pytest.mark.parametrize("size", [(1, 1), (7, 40), (40, 7), (1080, 1920)])
@pytest.mark.parametrize("score", [math.nan, math.inf, -1.0, 1e30])
def test_every_size_and_score_can_be_drawn(size: tuple[int, int], score: float) -> None:
    image = np.zeros((*size, 3), np.uint8)
    drawn = overlay(image, image, np.full(size, 255, np.uint8), score, 0.0, FrameState.ATTACK)
    assert drawn.shape == image.shape


def test_an_overlay_takes_a_tenth_of_a_frame(image: np.ndarray, labels_rgb: np.ndarray, mask: np.ndarray) -> None:
    overlay(image, labels_rgb, mask, 2.0, 1.0, FrameState.ATTACK)
    times = []
    for _ in range(20):
        start = time.process_time()
        overlay(image, labels_rgb, mask, 2.0, 1.0, FrameState.ATTACK)
        times.append(time.process_time() - start)
    assert min(times) < 0.003


def test_a_contact_sheet_places_every_picture() -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    cells = [np.full((60, 80, 3), color, np.uint8) for color in colors]
    sheet = contact_sheet(
        [("first\nmoment", [cells[0], cells[1]]), ("second", [cells[2], None])], ["input", "mask"], cell_width=80
    )
    found = {color: np.argwhere((sheet == color).all(axis=-1)) for color in colors}
    assert all(len(places) == 60 * 80 for places in found.values())
    red, green, blue = (found[color].min(axis=0) for color in colors)
    assert red[0] == green[0] and red[1] < green[1]
    assert red[1] == blue[1] and red[0] < blue[0]
    assert (sheet[: red[0]] < 128).any()
    assert (sheet[red[0] :, : red[1]] < 128).any()


def test_pictures_of_another_size_are_fitted_into_their_cell() -> None:
    wide = np.full((30, 120, 3), 9, np.uint8)
    sheet = contact_sheet([("", [np.full((60, 80, 3), 7, np.uint8), wide])], ["a", "b"], cell_width=160)
    assert (sheet == 7).all(axis=-1).sum() == 160 * 120
    assert 0 < (sheet == 9).all(axis=-1).sum() < 160 * 120

"""Where patches land in images, and how they look there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from support.neighbourly import EXACT, apply_patch, generator
from support.pasting import paste
from zmask_ros.attacks import EotRanges, paste_at_random
from zmask_ros.attacks.eot import Transforms, sample_transforms
from zmask_ros.attacks.printing import read_shape


def test_an_exact_paste_equals_plain_assignment() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3), np.uint8)
    patch = rng.integers(0, 256, (10, 14, 3), np.uint8)
    pasted, mask = paste(image, patch, center=(20.0, 15.0))
    expected = image.copy()
    expected[10:20, 13:27] = patch
    where = np.zeros((40, 50), bool)
    where[10:20, 13:27] = True
    np.testing.assert_array_equal(mask, where)
    np.testing.assert_array_equal(pasted, expected)


def test_a_quarter_turn_is_clockwise() -> None:
    patch = np.zeros((9, 9, 3), np.uint8)
    patch[:, :3] = 255
    pasted, _ = paste(np.full((9, 9, 3), 9, np.uint8), patch, center=(4.5, 4.5), rotation_deg=90)
    assert pasted[1, 1:8].min() > 250, "the left edge has turned to the top"
    assert pasted[7, 1:8].max() < 5


def test_a_part_outside_the_image_is_cut_off() -> None:
    pasted, mask = paste(np.zeros((20, 20, 3), np.uint8), np.full((10, 10, 3), 200, np.uint8), center=(0.0, 0.0))
    assert mask.sum() == 25
    assert (pasted[:5, :5] == 200).all()
    outside, nowhere = paste(np.zeros((20, 20, 3), np.uint8), np.full((10, 10, 3), 200, np.uint8), center=(90.0, 0.0))
    assert not outside.any()
    assert not nowhere.any()


def test_shrinking_a_checkerboard_gives_its_mean_and_no_moire() -> None:
    board = (np.indices((60, 60)).sum(0) % 2 * 255).astype(np.uint8)
    pasted, mask = paste(np.zeros((60, 60, 3), np.uint8), np.repeat(board[..., None], 3, 2), (30.0, 30.0), scale=0.31)
    inner = pasted[26:34, 26:34].astype(float)
    assert abs(inner.mean() - 127.5) < 3
    assert inner.std() < 6
    assert 18**2 <= mask.sum() <= 19**2


def test_the_mask_is_where_pixels_changed() -> None:
    patch = torch.ones(3, 20, 30)
    transforms = sample_transforms(
        replace(EXACT, scale=(0.7, 1.3), rotation_deg=(-30, 30)), 6, (20, 30), (64, 64), generator(3)
    )
    patched, mask = apply_patch(torch.zeros(6, 3, 64, 64), patch, transforms)
    torch.testing.assert_close((patched[:, :1] >= 0.5).float(), mask)
    assert mask.sum(dim=(1, 2, 3)).min() > 200


def test_brightness_contrast_and_noise_do_what_they_say() -> None:
    patch, images = torch.full((3, 20, 20), 0.7), torch.zeros(1, 3, 40, 40)
    zero, one = torch.zeros(1), torch.ones(1)
    place = torch.tensor([[[1.0, 0, 20], [0, 1, 20], [0, 0, 1]]], dtype=torch.float64)
    duller, _ = apply_patch(images, patch, Transforms(place, one * 0.1, one * 0.5, zero, zero))
    torch.testing.assert_close(duller[0, :, 15:25, 15:25], torch.full((3, 10, 10), 0.7))
    noisy, _ = apply_patch(images, patch, Transforms(place, zero, one, one * 0.05, zero))
    assert noisy[0, :, 11:29, 11:29].std().item() == pytest.approx(0.05, rel=0.1)


def test_gradients_reach_the_patch_and_only_where_it_is_seen() -> None:
    patch = torch.full((3, 20, 20), 0.5, requires_grad=True)
    zero, one = torch.zeros(1), torch.ones(1)
    half_outside = torch.tensor([[[1.0, 0, 0], [0, 1, 20], [0, 0, 1]]], dtype=torch.float64)
    patched, _ = apply_patch(torch.zeros(1, 3, 40, 40), patch, Transforms(half_outside, zero, one, zero, zero))
    (gradient,) = torch.autograd.grad(patched.sum(), patch)
    torch.testing.assert_close(gradient[:, :, 10:], torch.ones(3, 20, 10))
    assert not gradient[:, :, :9].any()


def test_paste_at_random_is_reproducible_and_changes_the_masked_pixels() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    patch = np.full((20, 20, 3), 255, np.uint8)
    first, second = (paste_at_random(image, patch, EotRanges(), generator(2)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1].sum() > 20
    assert first[0][first[1]].mean() > 150


def at_centre(size: int = 40) -> torch.Tensor:
    middle = size / 2
    return torch.tensor([[[1.0, 0, middle], [0, 1, middle], [0, 0, 1]]], dtype=torch.float64)


def test_gamma_is_a_power_of_the_colours() -> None:
    zero, one = torch.zeros(1), torch.ones(1)
    seen, _ = apply_patch(
        torch.zeros(1, 3, 40, 40),
        torch.full((3, 20, 20), 0.5),
        Transforms(at_centre(), zero, one, zero, zero, gamma=one * 2),
    )
    torch.testing.assert_close(seen[0, :, 15:25, 15:25], torch.full((3, 10, 10), 0.25))


def test_hidden_pixels_show_no_patch() -> None:
    zero, one = torch.zeros(1), torch.ones(1)
    visible = torch.ones(1, 40, 40)
    visible[..., 20:] = 0
    seen, mask = apply_patch(
        torch.zeros(1, 3, 40, 40),
        torch.ones(3, 20, 20),
        Transforms(at_centre(), zero, one, zero, zero, visible=visible),
    )
    assert mask[0, 0, 10:30, 10:20].all() and not mask[..., 20:].any()
    assert not seen[..., 20:].any()


def disc(folder: Path) -> Path:
    rows, columns = np.mgrid[-20:20, -20:20]
    path = folder / "disc.png"
    cv2.imwrite(str(path), ((rows**2 + columns**2 < 19**2) * 255).astype(np.uint8))
    return path


def test_a_shape_hides_only_what_it_covers(tmp_path: Path) -> None:
    shape = read_shape(disc(tmp_path), (40, 40))
    patch = torch.ones(3, 40, 40)
    zero, one = torch.zeros(1), torch.ones(1)
    seen, mask = apply_patch(torch.zeros(1, 3, 60, 60), patch, Transforms(at_centre(60), zero, one, zero, zero), shape)
    assert mask.sum().item() == pytest.approx(np.pi * 19**2, rel=0.02)
    assert not seen[..., 11, 11].any(), "the corner of the square is not covered"
    pixels = np.dstack([np.full((40, 40, 3), 255, np.uint8), (shape * 255).byte().numpy()])
    _, same = paste(np.zeros((60, 60, 3), np.uint8), pixels, (30.0, 30.0))
    np.testing.assert_array_equal(same, mask[0, 0].bool().numpy())

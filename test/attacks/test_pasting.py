"""Where patches land in images, and how they look there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from support.neighbourly import EXACT, generator
from zmask_ros.attacks import EotRanges, paste_at_random, to_tensor
from zmask_ros.attacks.eot import (
    VIEW_DISTANCE,
    Transforms,
    patch_corners,
    sample_layout,
    sample_transforms,
    view_homography,
)
from zmask_ros.attacks.jpeg import compress
from zmask_ros.attacks.pasting import apply_patch, apply_patches, paste
from zmask_ros.attacks.printing import read_shape
from zmask_ros.errors import AttackError


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


@pytest.mark.parametrize("seed", range(5))
def test_sampled_patches_are_fully_inside_the_image(seed: int) -> None:
    ranges = EotRanges(scale=(0.2, 3.0), rotation_deg=(-40, 40), yaw_deg=(-60, 60))
    transforms = sample_transforms(ranges, 32, (30, 40), (90, 120), generator(seed))
    corners = patch_corners(transforms.homography, (30, 40))
    assert corners.min() > -1e-9
    assert corners[..., 0].max() < 120 + 1e-9
    assert corners[..., 1].max() < 90 + 1e-9


def test_places_reach_all_corners_of_the_image() -> None:
    transforms = sample_transforms(EXACT, 4000, (10, 10), (60, 60), generator())
    centers = transforms.homography[:, :2, 2]
    assert centers.min() >= 5
    assert centers.max() <= 55
    for corner in ([5, 5], [55, 5], [5, 55], [55, 55]):
        assert (centers - torch.tensor(corner)).norm(dim=1).min() < 6


def test_yaw_narrows_the_patch_and_makes_its_near_side_taller() -> None:
    one = torch.ones(1, dtype=torch.float64)
    corners = patch_corners(view_homography(one, one * 0, one * 40, (30, 40)), (30, 40))[0]
    top_left, top_right, bottom_right, bottom_left = corners
    assert (top_right - top_left)[0] < 36
    assert (bottom_left - top_left)[1] > (bottom_right - top_right)[1] + 2


def test_the_mask_is_where_pixels_changed() -> None:
    patch = torch.ones(3, 20, 30)
    transforms = sample_transforms(
        replace(EXACT, scale=(0.7, 1.3), rotation_deg=(-30, 30)), 6, (20, 30), (64, 64), generator(3)
    )
    patched, mask = apply_patch(torch.zeros(6, 3, 64, 64), patch, transforms)
    torch.testing.assert_close((patched[:, :1] >= 0.5).float(), mask)
    assert mask.sum(dim=(1, 2, 3)).min() > 200


def test_transformations_are_reproducible_by_seed() -> None:
    patch, images = torch.rand(3, 20, 30, generator=generator(1)), torch.zeros(3, 3, 50, 60)
    runs = [
        apply_patch(images, patch, sample_transforms(EotRanges(), 3, (20, 30), (50, 60), generator(s)))[0]
        for s in (7, 7, 8)
    ]
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=0)
    assert not torch.equal(runs[0], runs[2])


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


def test_pitch_and_yaw_place_corners_as_a_turned_plane_in_space() -> None:
    scale, turn, yaw, pitch = (torch.tensor([v], dtype=torch.float64) for v in (1.0, 0.0, 25.0, 40.0))
    corners = patch_corners(view_homography(scale, turn, yaw, (30, 40), pitch), (30, 40))[0]
    for (x, y), seen in zip([(-20, -15), (20, -15), (20, 15), (-20, 15)], corners.tolist(), strict=True):
        # Turn about the vertical axis, then about the horizontal one, then look from VIEW_DISTANCE widths away.
        a, b = np.deg2rad(25), np.deg2rad(40)
        x1, z1 = x * np.cos(a), x * np.sin(a)
        y2, z2 = y * np.cos(b) - z1 * np.sin(b), y * np.sin(b) + z1 * np.cos(b)
        depth = 1 + z2 / (VIEW_DISTANCE * 40)
        assert seen == pytest.approx([x1 / depth, y2 / depth])


def test_new_ranges_leave_the_draws_of_the_old_ones_alone() -> None:
    old = sample_transforms(EotRanges(), 5, (20, 30), (90, 120), generator(3))
    new = sample_transforms(EotRanges(gamma=(0.5, 2), jpeg=(30, 90)), 5, (20, 30), (90, 120), generator(3))
    torch.testing.assert_close(old.homography, new.homography, rtol=0, atol=0)
    assert old.noise_seed == new.noise_seed
    assert old.gamma is None and old.jpeg is None
    assert new.gamma is not None and bool(((new.gamma >= 0.5) & (new.gamma <= 2)).all())
    assert new.jpeg is not None and bool(((new.jpeg >= 30) & (new.jpeg <= 90)).all())
    # The state of the generator after the draw is what the next step's draws follow from.
    first, second = generator(3), generator(3)
    for one in (first, second):
        sample_transforms(EotRanges(), 5, (20, 30), (90, 120), one)
    sample_layout(EotRanges(), 1, 5, (20, 30), (90, 120), first)
    sample_transforms(EotRanges(), 5, (20, 30), (90, 120), second)
    assert torch.equal(first.get_state(), second.get_state())


def test_several_patches_do_not_overlap_where_there_is_room() -> None:
    ranges = replace(EotRanges(), scale=(0.8, 1.0))
    patches = torch.rand(4, 3, 16, 16, generator=generator())
    layout = sample_layout(ranges, 4, 6, (16, 16), (90, 120), generator(1))
    _, masks = apply_patches(torch.zeros(6, 3, 90, 120), patches, layout)
    assert masks.shape == (6, 4, 90, 120)
    assert masks.sum(1).max() == 1
    assert masks.sum((2, 3)).min() > 100


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


@pytest.mark.parametrize("quality", [20, 60, 95])
def test_jpeg_is_close_to_what_a_real_encoder_does(quality: int) -> None:
    rows, columns = np.mgrid[0:70, 0:90] / 90
    image = np.stack([200 * rows, 255 * columns, 120 + 80 * np.sin(20 * rows * columns)], -1)
    image = np.clip(image + np.random.default_rng(0).normal(0, 8, image.shape), 0, 255).astype(np.uint8)
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    expected = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    ours = compress(to_tensor(image)[None], torch.tensor([quality]))[0].permute(1, 2, 0).numpy() * 255
    changed = np.abs(expected - image).mean()
    assert np.abs(ours - expected).mean() < 0.25 * changed


def test_gradients_pass_through_jpeg() -> None:
    images = torch.rand(2, 3, 20, 24, generator=generator()).requires_grad_()
    compressed = compress(images, torch.tensor([50.0, 100.0]))
    assert not torch.equal(compressed[0], images[0])
    torch.testing.assert_close(compressed[1], images[1], rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(compressed[0].mean(), images)
    # Rounding passed straight through, the transform and its inverse leave a change of all pixels as it is.
    assert gradient[0].sum().item() == pytest.approx(1.0, abs=0.1)


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


def test_shapes_that_hide_nothing_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((9, 9), np.uint8))
    (tmp_path / "text.png").write_text("text")
    for name, sentence in (("black.png", "everywhere"), ("text.png", "no picture"), ("none.png", "cannot be read")):
        with pytest.raises(AttackError, match=sentence):
            read_shape(tmp_path / name, (8, 8))

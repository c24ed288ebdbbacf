"""Transformations that patches are drawn with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from support.neighbourly import EXACT, apply_patch, generator
from zmask_ros.attacks import (
    EotRanges,
)
from zmask_ros.attacks.eot import (
    VIEW_DISTANCE,
    patch_corners,
    sample_layout,
    sample_transforms,
    view_homography,
)
from zmask_ros.attacks.pasting import apply_patches
from zmask_ros.errors import AttackError


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


def test_transformations_are_reproducible_by_seed() -> None:
    patch, images = torch.rand(3, 20, 30, generator=generator(1)), torch.zeros(3, 3, 50, 60)
    runs = [
        apply_patch(images, patch, sample_transforms(EotRanges(), 3, (20, 30), (50, 60), generator(s)))[0]
        for s in (7, 7, 8)
    ]
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=0)
    assert not torch.equal(runs[0], runs[2])


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


def test_ranges_out_of_order_are_refused() -> None:
    with pytest.raises(AttackError, match="scale"):
        EotRanges(scale=(1.2, 0.3))
    with pytest.raises(AttackError, match="place"):
        EotRanges(place=(0.0, 1.5))

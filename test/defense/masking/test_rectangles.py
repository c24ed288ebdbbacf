"""Regions completed to rectangles."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from zmask_ros.defense.evidence.fusion import FusionBlock
from zmask_ros.defense.masking.growth import Growth, grow
from zmask_ros.defense.masking.rectangles import complete_rectangles, fill_rectangles

GRID = (45, 60)


def turned(center: tuple[float, float], sides: tuple[float, float], angle: float) -> np.ndarray:
    """A turned rectangle on the grid, bool [h, w]."""
    image = np.zeros(GRID, np.uint8)
    corners = cv2.boxPoints((center, sides, angle)).round().astype(np.int32)
    return cv2.fillConvexPoly(image, corners, 1) > 0


def tensor(region: np.ndarray) -> Tensor:
    return torch.from_numpy(region)[None, None]


@pytest.mark.parametrize("angle", [0.0, 10.0, 33.0, 80.0])
def test_what_is_missing_of_a_turned_rectangle_comes_back(angle: float) -> None:
    whole = turned((30, 22), (20, 14), angle)
    part = whole.copy()
    part[18:24, 26:33] = False
    part[turned((22, 18), (6, 6), angle)] = False
    found = fill_rectangles(tensor(part), 0.5)[0, 0].numpy()
    assert part.sum() < 0.85 * whole.sum()
    assert (found & whole).sum() > 0.97 * whole.sum()
    assert (found & ~whole).sum() < 0.2 * whole.sum(), "a turned rectangle is a stairway of cells"


def test_a_whole_rectangle_stays_as_it_is() -> None:
    whole = turned((30, 22), (20, 14), 0.0)
    assert torch.equal(fill_rectangles(tensor(whole), 0.5), tensor(whole))


def test_a_thin_frame_around_the_view_is_not_filled() -> None:
    frame = np.ones(GRID, bool)
    frame[2:-2, 2:-2] = False
    assert torch.equal(fill_rectangles(tensor(frame), 0.5), tensor(frame))


def test_each_part_has_its_own_rectangle_and_images_do_not_mix() -> None:
    first, second = np.zeros(GRID, bool), np.zeros(GRID, bool)
    first[5:15, 5:15] = first[30:40, 45:55] = True
    holes = first.copy()
    holes[8:11, 8:11] = holes[33:36, 48:51] = False
    both = fill_rectangles(torch.cat([tensor(holes), tensor(second)]), 0.5)
    assert torch.equal(both, torch.cat([tensor(first), tensor(second)]))


def test_all_and_nothing_stay() -> None:
    for region in (torch.zeros(1, 1, *GRID, dtype=torch.bool), torch.ones(1, 1, *GRID, dtype=torch.bool)):
        assert torch.equal(fill_rectangles(region, 0.5), region)


def test_what_a_region_is_completed_by_is_masked_and_hangs_on_the_region() -> None:
    fusion = FusionBlock(torch.tensor([4.0, -4.0, 8.0, 0.0, 4.0, -4.0, 8.0, 0.0]))
    heat = torch.full((1, 1, *GRID), 0.05)
    heat[..., 10:30, 20:44] = 0.4
    heat[..., 12:14, 22:24] = 1.5
    heat[..., 16:30, 30:44] = 0.05
    heat.requires_grad_()
    mask = fusion(heat, heat)
    grown = grow(fusion, Growth(0.3, (1, 1)), heat, heat, mask)
    plain, whole = (complete_rectangles(grown, solid) for solid in (1.0, 0.5))
    assert ((plain > 0.5).sum(), (whole > 0.5).sum()) == (20 * 24 - 14 * 14, 20 * 24)
    gradient = torch.autograd.grad(whole[..., 20:25, 35:40].sum(), heat)[0]
    assert (gradient[..., 10:16, 20:44] > 0).any(), "an attacker who cools the rest uncovers the corner"

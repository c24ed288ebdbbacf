"""Regions completed to rectangles."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from zmask_ros.defense.evidence.fusion import FusionBlock
from zmask_ros.defense.masking.growth import Growth, complete_rectangles, framed, grow
from zmask_ros.defense.masking.rectangles import completed

GRID = (45, 60)


def turned(centre: tuple[float, float], sides: tuple[float, float], angle: float) -> np.ndarray:
    """A turned rectangle on the grid, bool [h, w]."""
    image = np.zeros(GRID, np.uint8)
    corners = cv2.boxPoints((centre, sides, angle)).round().astype(np.int32)
    return cv2.fillConvexPoly(image, corners, 1) > 0


def tensor(region: np.ndarray) -> Tensor:
    return torch.from_numpy(region)[None, None]


@pytest.mark.parametrize("angle", [0.0, 10.0, 33.0, 80.0])
def test_what_is_missing_of_a_turned_rectangle_comes_back(angle: float) -> None:
    whole = turned((30, 22), (20, 14), angle)
    part = whole.copy()
    part[18:24, 26:33] = False
    part[turned((22, 18), (6, 6), angle)] = False
    found = completed(tensor(part), 0.5)[0, 0].numpy()
    assert part.sum() < 0.85 * whole.sum()
    assert (found & whole).sum() > 0.97 * whole.sum()
    assert (found & ~whole).sum() < 0.2 * whole.sum(), "a turned rectangle is a stairway of cells"


def test_a_whole_rectangle_stays_as_it_is() -> None:
    whole = turned((30, 22), (20, 14), 0.0)
    assert torch.equal(completed(tensor(whole), 0.5), tensor(whole))


def test_a_thin_frame_around_the_view_is_not_filled() -> None:
    frame = np.ones(GRID, bool)
    frame[2:-2, 2:-2] = False
    assert torch.equal(completed(tensor(frame), 0.5), tensor(frame))


def test_each_part_has_its_own_rectangle_and_images_do_not_mix() -> None:
    first, second = np.zeros(GRID, bool), np.zeros(GRID, bool)
    first[5:15, 5:15] = first[30:40, 45:55] = True
    holes = first.copy()
    holes[8:11, 8:11] = holes[33:36, 48:51] = False
    both = completed(torch.cat([tensor(holes), tensor(second)]), 0.5)
    assert torch.equal(both, torch.cat([tensor(first), tensor(second)]))


def test_all_and_nothing_stay() -> None:
    for region in (torch.zeros(1, 1, *GRID, dtype=torch.bool), torch.ones(1, 1, *GRID, dtype=torch.bool)):
        assert torch.equal(completed(region, 0.5), region)


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


def frame(rows: slice, columns: slice, wide: int) -> Tensor:
    """A rim of this many cells, bool [1, 1, *GRID]."""
    rim = torch.zeros(1, 1, *GRID, dtype=torch.bool)
    rim[..., rows, columns] = True
    rim[..., rows.start + wide : rows.stop - wide, columns.start + wide : columns.stop - wide] = False
    return rim


def at(row: int, column: int) -> Tensor:
    seed = torch.zeros(1, 1, *GRID, dtype=torch.bool)
    seed[..., row, column] = True
    return seed


def test_what_a_rim_goes_around_is_inside() -> None:
    rows, columns = slice(10, 28), slice(20, 40)
    found = framed(at(10, 20), frame(rows, columns, 2))
    assert found[..., rows, columns].all()
    assert int(found.sum()) == 18 * 20


def test_an_open_rim_has_no_inside_nor_has_one_without_a_seed() -> None:
    rim = frame(slice(10, 28), slice(20, 40), 2)
    assert not framed(at(40, 5), rim).any()
    rim[..., 10:12, 28:31] = False
    assert framed(at(10, 20), rim).any(), "a small gap is closed"
    rim[..., 10:12, 25:35] = False
    assert not framed(at(10, 20), rim).any()


def test_a_frame_around_the_view_blinds_nobody() -> None:
    height, width = GRID
    assert not framed(at(1, 1), frame(slice(1, height - 1), slice(1, width - 1), 2)).any()


def test_each_image_of_a_batch_has_its_own_rims() -> None:
    rims = torch.cat([frame(slice(10, 28), slice(20, 40), 2), frame(slice(5, 15), slice(5, 15), 1)])
    seeds = torch.cat([at(10, 20), at(5, 5)])
    together = framed(seeds, rims)
    assert torch.equal(together, torch.cat([framed(seeds[i : i + 1], rims[i : i + 1]) for i in range(2)]))
    assert together.flatten(1).sum(1).tolist() == [18 * 20, 10 * 10]


def test_whoever_cools_the_middle_of_a_patch_loses_it_all_the_same() -> None:
    fusion = FusionBlock(torch.tensor([4.0, -4.0, 8.0, 0.0, 4.0, -4.0, 8.0, 0.0]))
    heat = torch.full((1, 1, *GRID), 1e-5)
    heat[..., 10:28, 20:40] = torch.where(frame(slice(10, 28), slice(20, 40), 2), 0.01, 1e-5)[..., 10:28, 20:40]
    heat[..., 26:28, 20:40] = 1.5
    mask = fusion(heat, heat)
    cut, whole = (grow(fusion, Growth(0.3, (3, 3), 0.02, solid=solid), heat, heat, mask) > 0.5 for solid in (1.0, 0.4))
    assert int(cut.sum()) < 100
    assert whole[..., 10:28, 20:40].all()

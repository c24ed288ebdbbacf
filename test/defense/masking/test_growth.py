"""How a mask grows."""

import torch
from torch import Tensor

from zmask_ros.defense.evidence.fusion import FusionBlock
from zmask_ros.defense.masking.growth import Growth, connected_without_bridges, enclosed, gray_closing, grow

GRID = (45, 60)


def test_gaps_are_closed_and_borders_stay():
    heat = torch.zeros(1, 1, 9, 20)
    heat[..., 5:8] = heat[..., 10:13] = 3.0
    closed = gray_closing(heat, (3, 3))[0, 0, 4]
    assert closed.tolist() == [0.0] * 5 + [3.0] * 8 + [0.0] * 7


def test_bridges_are_cut_and_small_patches_stay():
    candidates = torch.zeros(1, 1, 20, 30, dtype=torch.bool)
    candidates[..., 3:12, 2:11] = candidates[..., 4:9, 16:21] = True
    candidates[..., 6, 11:16] = True  # the bridge between them
    candidates[..., 15:18, 24:27] = True  # a patch smaller than the window
    candidates[..., 17, 2:8] = True  # warm, but without a seed
    seeds = torch.zeros_like(candidates)
    seeds[..., 5, 5] = seeds[..., 16, 25] = True
    expected = torch.zeros_like(candidates)
    expected[..., 3:12, 2:11] = expected[..., 15:18, 24:27] = True
    assert torch.equal(connected_without_bridges(seeds, candidates, (7, 7)), expected)


def test_a_mask_grows_over_the_whole_patch_and_not_to_other_warm_places():
    fusion = FusionBlock(torch.tensor([4.0, -4.0, 8.0, 0.0, 4.0, -4.0, 8.0, 0.0]))
    deep, shallow = torch.full((1, 1, 20, 30), 0.1), torch.full((1, 1, 20, 30), 0.05)
    shallow[..., 4:10, 5:17] = 0.5
    shallow[..., 5:7, 6:9] = 4.0
    shallow[..., 14:18, 22:27] = 0.5
    deep[..., 2:12, 3:19] = deep[..., 13:19, 21:28] = 3.0
    mask = fusion(shallow, deep)
    region = grow(fusion, Growth(0.3, (3, 3)), shallow, deep, mask) > 0.5
    expected = torch.zeros_like(region)
    expected[..., 4:10, 5:17] = True
    assert torch.equal(region, expected)
    assert (mask > 0.5).sum() == 6


def test_a_mask_reaches_as_far_as_a_cool_patch_does():
    """Heat that nowhere opens the fusion block by itself, next to which all else is cold."""
    fusion = FusionBlock(torch.tensor([4.0, -4.0, 8.0, 0.0, 4.0, -4.0, 8.0, 0.0]))
    heat = torch.full((1, 1, 20, 30), 0.002)
    heat[..., 4:11, 5:17] = 0.04
    heat[..., 6:8, 7:9] = 0.3
    heat[..., 14:18, 22:27] = 0.04
    heat.requires_grad_()
    mask = fusion(heat, heat)
    assert (mask < 0.5).all()

    def region(reach: float) -> torch.Tensor:
        return grow(fusion, Growth(0.3, (3, 3), reach), heat, heat, mask)

    expected = torch.zeros_like(heat, dtype=torch.bool)
    assert (region(1.0) > 0.5).sum() <= 4
    expected[..., 4:11, 5:17] = True
    assert torch.equal(region(0.1) > 0.5, expected), "a tenth of the hottest cell, and not the other warm place"
    gradient = torch.autograd.grad(region(0.1).sum(), heat)[0]
    assert gradient[expected].abs().amax() > 0


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
    found = enclosed(at(10, 20), frame(rows, columns, 2))
    assert found[..., rows, columns].all()
    assert int(found.sum()) == 18 * 20


def test_an_open_rim_has_no_inside_nor_has_one_without_a_seed() -> None:
    rim = frame(slice(10, 28), slice(20, 40), 2)
    assert not enclosed(at(40, 5), rim).any()
    rim[..., 10:12, 28:31] = False
    assert enclosed(at(10, 20), rim).any(), "a small gap is closed"
    rim[..., 10:12, 25:35] = False
    assert not enclosed(at(10, 20), rim).any()


def test_a_frame_around_the_view_blinds_nobody() -> None:
    height, width = GRID
    assert not enclosed(at(1, 1), frame(slice(1, height - 1), slice(1, width - 1), 2)).any()


def test_each_image_of_a_batch_has_its_own_rims() -> None:
    rims = torch.cat([frame(slice(10, 28), slice(20, 40), 2), frame(slice(5, 15), slice(5, 15), 1)])
    seeds = torch.cat([at(10, 20), at(5, 5)])
    together = enclosed(seeds, rims)
    assert torch.equal(together, torch.cat([enclosed(seeds[i : i + 1], rims[i : i + 1]) for i in range(2)]))
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

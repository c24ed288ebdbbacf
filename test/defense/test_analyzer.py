"""The fast analysis against the slow, obvious one, and what must hold for any activations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from support import obvious
from zmask_ros.defense import FusionBlock, LayerOverActivation, LayerStatistics, Moments, attack_score, hard_mask
from zmask_ros.defense.evidence.grid import area_resample, box_pool, layer_kernel, maximum_filter, working_grid
from zmask_ros.defense.evidence.overactivation import fuse_layers, kernel_cascade
from zmask_ros.defense.masking.growth import Growth, close_gaps, grow, without_bridges
from zmask_ros.defense.masking.morphology import connected, parts_of
from zmask_ros.training.clean_fit import observe

odd_kernels = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(lambda k: (2 * k[0] + 1, 2 * k[1] + 1))
sizes = st.tuples(st.integers(1, 19), st.integers(1, 23))
seeds = st.integers(0, 2**16)


def random_tensor(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3 + 1


def clean_statistics(activation: torch.Tensor, kernels: list[tuple[int, int]], grid: tuple[int, int]):
    return LayerStatistics(observe(activation, tuple(kernels), grid))


@settings(deadline=None, max_examples=40)
@given(sizes, odd_kernels, seeds)
def test_box_pooling_equals_the_obvious_one(size, kernel, seed):
    x = random_tensor(seed, 2, 3, *size)
    fast = box_pool(x, kernel)
    assert fast.shape == x.shape
    for image, pooled in zip(x.double().numpy(), fast.numpy(), strict=True):
        np.testing.assert_allclose(pooled, obvious.box_pool(image, kernel), atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.tuples(st.integers(9, 31), st.integers(9, 33)), st.tuples(st.integers(2, 9), st.integers(2, 9)), seeds)
def test_area_resampling_equals_the_obvious_one(size, grid, seed):
    x = random_tensor(seed, 1, 2, *size)
    expected = obvious.area_resample(x[0].double().numpy(), grid)
    np.testing.assert_allclose(area_resample(x, grid)[0].numpy(), expected, atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(st.tuples(st.integers(7, 17), st.integers(7, 19)), seeds, st.integers(1, 3))
def test_heat_maps_and_cascade_equal_the_obvious_ones(size, seed, batch):
    kernels = [(5, 7), (3, 3), (1, 3)]
    clean = random_tensor(seed, 4, 5, *size)
    statistics = clean_statistics(clean, kernels, size)
    mean, deviation = obvious.moments(list(clean.double().numpy()), kernels)
    np.testing.assert_allclose(statistics.mean.numpy(), mean[0], atol=1e-6)
    np.testing.assert_allclose(statistics.deviations.numpy(), deviation[1:], atol=1e-5)

    seen = random_tensor(seed + 1, batch, 5, *size) * 2
    layer = LayerOverActivation(statistics, kernels)
    fused = layer(seen, size)
    assert fused.shape == (batch, 1, *size)
    for image, heat in zip(seen.double().numpy(), fused.numpy(), strict=True):
        heats = [obvious.heat_map(image, k, mean[0], s) for k, s in zip(kernels, deviation[1:], strict=True)]
        np.testing.assert_allclose(heat[0], obvious.cascade(heats), rtol=1e-3, atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(seeds, st.lists(st.floats(-4, 4), min_size=8, max_size=8))
def test_fusion_and_score_equal_the_obvious_ones(seed, scalars):
    shallow, deep = (random_tensor(seed + i, 1, 1, 9, 11).abs() for i in range(2))
    mask = FusionBlock(torch.tensor(scalars))(shallow, deep)
    expected, score = obvious.fusion_and_score(shallow[0, 0].double().numpy(), deep[0, 0].double().numpy(), scalars)
    np.testing.assert_allclose(mask[0, 0].numpy(), expected, atol=1e-4)
    assert attack_score(shallow, deep, mask).item() == pytest.approx(score, rel=1e-3, abs=1e-4)


CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("corner", CORNERS)
def test_a_blob_is_found_in_each_corner(corner):
    height, width, blob = 45, 60, 9
    top, left = corner[0] * (height - blob), corner[1] * (width - blob)
    assert_blob_is_found(height, width, top, left, blob)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 36), st.integers(0, 51))
def test_a_blob_is_found_where_it_was_planted(top, left):
    assert_blob_is_found(45, 60, top, left, 9)


def assert_blob_is_found(height: int, width: int, top: int, left: int, blob: int) -> None:
    kernels = [(19, 25), (9, 13), (5, 7), (3, 3)]
    clean = random_tensor(0, 6, 16, height, width)
    layer = LayerOverActivation(clean_statistics(clean, kernels, (height, width)), kernels)
    seen = random_tensor(1, 1, 16, height, width)
    seen[:, :, top : top + blob, left : left + blob] += 15
    heat = layer(seen, (height, width))[0, 0]
    found = heat > heat.max() / 10
    planted = torch.zeros_like(found)
    planted[top : top + blob, left : left + blob] = True
    assert (found & planted).sum() / (found | planted).sum() > 0.7
    rows, columns = (axis.double().mean().item() for axis in found.nonzero(as_tuple=True))
    assert abs(rows - (top + (blob - 1) / 2)) < 1
    assert abs(columns - (left + (blob - 1) / 2)) < 1


def test_a_heat_map_does_not_move_when_a_coarse_layer_is_brought_to_the_grid():
    kernels = [(5, 5), (3, 3)]
    clean = random_tensor(0, 6, 8, 12, 15)
    layer = LayerOverActivation(clean_statistics(clean, kernels, (24, 30)), kernels)
    seen = random_tensor(1, 1, 8, 12, 15)
    seen[:, :, 3:6, 9:12] += 30
    heat = layer(seen, (24, 30))[0, 0]
    rows, columns = (heat > heat.max() / 10).nonzero(as_tuple=True)
    assert rows.double().mean().item() == pytest.approx(2 * 4 + 0.5, abs=1)
    assert columns.double().mean().item() == pytest.approx(2 * 10 + 0.5, abs=1)


def test_dead_channels_are_dropped_and_not_divided_by():
    kernels = [(3, 3)]
    clean = random_tensor(0, 3, 4, 9, 9)
    with_dead = torch.cat([clean, torch.full((3, 2, 9, 9), 7.0)], dim=1)
    statistics = clean_statistics(with_dead, kernels, (9, 9))
    assert statistics.alive.tolist() == [True] * 4 + [False] * 2
    seen = random_tensor(1, 1, 4, 9, 9)
    seen_with_dead = torch.cat([seen, torch.full((1, 2, 9, 9), 900.0)], dim=1)
    heat = LayerOverActivation(statistics, kernels)(seen_with_dead, (9, 9))
    expected = LayerOverActivation(clean_statistics(clean, kernels, (9, 9)), kernels)(seen, (9, 9))
    torch.testing.assert_close(heat, expected)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 7), st.integers(1, 7), seeds)
def test_merged_halves_equal_the_whole(first, second, seed):
    frames = random_tensor(seed, first + second, 5, 11, 13).double()
    parts = [observe(frame[None], ((3, 5),), (11, 13)) for frame in frames]

    def merged(some: list[Moments]) -> Moments:
        total = some[0]
        for part in some[1:]:
            total = total.merge(part)
        return total

    halves, whole = merged(parts[:first]).merge(merged(parts[first:])), merged(parts)
    at_once = observe(frames, ((3, 5),), (11, 13))
    for other in (whole, at_once):
        assert halves.count == other.count
        torch.testing.assert_close(halves.mean, other.mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(halves.std, other.std, rtol=1e-9, atol=1e-9)


def test_moments_of_different_shapes_do_not_merge():
    with pytest.raises(ValueError, match="do not merge"):
        Moments.of(torch.ones(2, 4)).merge(Moments.of(torch.ones(3, 4)))


def test_cascade_and_layer_fusion():
    heats = [torch.full((1, 1, 2, 2), 3.0), torch.full((1, 1, 2, 2), 2.0)]
    torch.testing.assert_close(kernel_cascade(heats), torch.full((1, 1, 2, 2), 1.5))
    a, b = torch.tensor([[[[1.0, 5.0]]]]), torch.tensor([[[[4.0, 2.0]]]])
    assert fuse_layers([a, b]).tolist() == [[[[4.0, 5.0]]]]


def test_the_gate_follows_the_deep_evidence():
    block = FusionBlock(torch.tensor([4.0, -4.0, 8.0, 0.0, 4.0, -4.0, 8.0, 0.0]))
    deep = torch.tensor([0.1, 1.0, 10.0])
    assert block.gate(deep).tolist() == pytest.approx([0, 0.5, 1], abs=0.01)


def test_the_hard_mask_passes_the_gradient_of_the_soft_one():
    soft = torch.full((1, 1, 2, 2), 0.7, requires_grad=True)
    hard = hard_mask(soft, (4, 4))
    assert set(hard.detach().flatten().tolist()) == {1.0}
    hard.sum().backward()
    assert soft.grad is not None
    assert soft.grad.sum().item() == pytest.approx(16)


def test_gaps_are_closed_and_borders_stay():
    heat = torch.zeros(1, 1, 9, 20)
    heat[..., 5:8] = heat[..., 10:13] = 3.0
    closed = close_gaps(heat, (3, 3))[0, 0, 4]
    assert closed.tolist() == [0.0] * 5 + [3.0] * 8 + [0.0] * 7


@settings(deadline=None, max_examples=40)
@given(sizes, odd_kernels, seeds)
def test_the_largest_in_a_window_is_that_of_max_pooling(size, kernel, seed):
    heat = random_tensor(seed, 2, 1, *size)
    assert torch.equal(maximum_filter(heat, kernel), F.max_pool2d(heat, kernel, 1, (kernel[0] // 2, kernel[1] // 2)))


@settings(deadline=None, max_examples=40)
@given(sizes, st.floats(0.2, 0.9), seeds)
def test_what_hangs_together_equals_a_flood_from_the_seeds(size, share, seed):
    generator = torch.Generator().manual_seed(seed)
    candidates = torch.rand(2, 1, *size, generator=generator) < share
    starts = torch.rand(2, 1, *size, generator=generator) < 0.02
    for own, image, chosen in zip(connected(starts, candidates), candidates, starts, strict=True):
        assert {(i, j) for _, i, j in own.nonzero().tolist()} == flood(chosen[0] & image[0], image[0])


def flood(starts: torch.Tensor, candidates: torch.Tensor) -> set[tuple[int, int]]:
    """The cells of ``candidates`` [h, w] that are reached from ``starts``, neighbour by neighbour."""
    free, waiting = {(i, j) for i, j in candidates.nonzero().tolist()}, [(i, j) for i, j in starts.nonzero().tolist()]
    reached = set(waiting)
    while waiting:
        i, j = waiting.pop()
        new = {(i + k, j + m) for k in (-1, 0, 1) for m in (-1, 0, 1)} & free - reached
        reached |= new
        waiting += new
    return reached


@settings(deadline=None, max_examples=40)
@given(sizes, st.floats(0.2, 0.9), seeds)
def test_cells_have_the_same_number_where_they_hang_together(size, share, seed):
    region = torch.rand(size, generator=torch.Generator().manual_seed(seed)) < share
    count, parts = parts_of(region.byte().numpy())
    numbers = torch.from_numpy(parts)
    assert count == int(numbers.max()) + 1
    assert torch.equal(numbers > 0, region)
    for number in range(1, int(numbers.max()) + 1):
        part = numbers == number
        one = torch.zeros_like(part)
        one[tuple(part.nonzero()[0])] = True
        assert flood(one, region) == {(i, j) for i, j in part.nonzero().tolist()}


def test_only_what_hangs_together_with_a_seed_is_reached():
    candidates = torch.zeros(1, 1, 6, 12, dtype=torch.bool)
    candidates[..., 1:4, 1:5] = candidates[..., 4:6, 5:7] = candidates[..., 1:4, 9:11] = True
    seeds = torch.zeros_like(candidates)
    seeds[..., 2, 2] = seeds[..., 0, 11] = True
    expected = candidates.clone()
    expected[..., 9:11] = False
    assert torch.equal(connected(seeds, candidates), expected)


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
    assert torch.equal(without_bridges(seeds, candidates, (7, 7)), expected)


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


def test_grids_and_kernels():
    assert working_grid((360, 480), 8) == (45, 60)
    assert working_grid((361, 475), 8) == (46, 60)
    assert layer_kernel((19, 25), (45, 60), (45, 60)) == (19, 25)
    assert all(k % 2 == 1 for k in layer_kernel((19, 25), (45, 60), (23, 30)))
    assert layer_kernel((3, 3), (45, 60), (5, 7)) == (1, 1)

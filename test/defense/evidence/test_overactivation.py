"""Heat maps and their fusion, against slow and obvious ones, and what must hold for any activations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support import obvious
from support.tensors import random_tensor, seeds
from zmask_ros.defense import LayerStatistics
from zmask_ros.defense.evidence.overactivation import LayerOverActivation, fuse_layers, kernel_cascade
from zmask_ros.training.clean_fit import observe


def clean_statistics(activation: torch.Tensor, kernels: list[tuple[int, int]], grid: tuple[int, int]):
    return LayerStatistics(observe(activation, tuple(kernels), grid))


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


def test_cascade_and_layer_fusion():
    heats = [torch.full((1, 1, 2, 2), 3.0), torch.full((1, 1, 2, 2), 2.0)]
    torch.testing.assert_close(kernel_cascade(heats), torch.full((1, 1, 2, 2), 1.5))
    a, b = torch.tensor([[[[1.0, 5.0]]]]), torch.tensor([[[[4.0, 2.0]]]])
    assert fuse_layers([a, b]).tolist() == [[[[4.0, 5.0]]]]

"""Channel-agnostic descriptors against a slow, obvious version, and what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support import obvious
from support.tensors import random_tensor, seeds
from zmask_ros.defense.evidence.descriptors import (
    DESCRIPTORS,
    ENERGY_WINDOW,
    LARGEST_Z,
    LEAST_POWER,
    MODERATE,
    LayerDescriptors,
    StandardizedDescriptors,
)
from zmask_ros.defense.evidence.grid import layer_grid, layer_kernel
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.training.clean_fit import observe

GRID, KERNEL = (6, 8), (3, 5)
FINE, SAME, COARSE = (12, 16), (6, 8), (3, 4)
each_size = pytest.mark.parametrize("size", [FINE, SAME, COARSE])


def statistics_of(clean: torch.Tensor) -> LayerStatistics:
    """Clean statistics over activations [N, C, H, W]."""
    return LayerStatistics(observe(clean, (KERNEL,), GRID))


def descriptors_of(clean: torch.Tensor) -> LayerDescriptors:
    return LayerDescriptors(statistics_of(clean), KERNEL, layer_grid(tuple(clean.shape[-2:]), GRID), GRID)


def slow(activation: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Equation H7, [5, h, w], of one activation [C, H, W], from clean ones [N, C, H, W]."""
    own = layer_grid(activation.shape[1:], GRID)
    kernel, window = layer_kernel(KERNEL, GRID, own), layer_kernel(ENERGY_WINDOW, GRID, own)
    mean, sigma = obvious.moments([obvious.area_resample(frame, own) for frame in clean], [kernel])

    def z(x: np.ndarray, row: int) -> np.ndarray:
        channels = (sigma > 1e-9).all(0)
        deviation = (x - mean[0, :, None, None])[channels] / sigma[row, channels, None, None]
        return np.clip(deviation, -LARGEST_Z, LARGEST_Z)

    small = obvious.area_resample(activation, own)
    one, pooled = z(small, 0), z(obvious.box_pool(small, kernel), 1)
    squares = (z(activation, 0) ** 2).mean(0)[None]
    same = activation.shape[1:] == own
    energy = obvious.box_pool(squares, window)[0] if same else obvious.area_resample(squares, own)[0]

    def logarithm(power: np.ndarray, p: int) -> np.ndarray:
        return np.log(power + LEAST_POWER) / p

    return np.stack(
        [
            logarithm((one**2).mean(0), 2),
            logarithm(np.abs(one).mean(0), 1),
            logarithm((one**4).mean(0), 4),
            logarithm((pooled**2).mean(0), 2),
            logarithm(energy, 2),
        ]
    )


@each_size
def test_descriptors_are_those_of_the_equation(size: tuple[int, int]) -> None:
    clean, seen = random_tensor(0, 5, 7, *size), random_tensor(1, 2, 7, *size)
    clean[:, 3] = 2.0
    seen[0, 1, :2, :2] += 200.0
    found = descriptors_of(clean)(seen)
    for own, activation in zip(found, seen, strict=True):
        expected = slow(activation.double().numpy(), clean.double().numpy())
        np.testing.assert_allclose(own.numpy(), expected, rtol=1e-4, atol=1e-4)


@each_size
@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_the_order_of_channels_does_not_matter(size: tuple[int, int], seed: int) -> None:
    clean, seen = random_tensor(seed, 4, 6, *size), random_tensor(seed + 1, 1, 6, *size)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        descriptors_of(clean[:, order])(seen[:, order]), descriptors_of(clean)(seen), rtol=1e-4, atol=1e-5
    )


@each_size
@given(seed=seeds, copies=st.integers(2, 4))
@settings(max_examples=15, deadline=None)
def test_the_number_of_channels_does_not_matter(size: tuple[int, int], seed: int, copies: int) -> None:
    clean, seen = random_tensor(seed, 4, 5, *size), random_tensor(seed + 1, 1, 5, *size)
    more = descriptors_of(clean.repeat(1, copies, 1, 1))(seen.repeat(1, copies, 1, 1))
    torch.testing.assert_close(more, descriptors_of(clean)(seen), rtol=1e-4, atol=1e-5)


@each_size
@given(seed=seeds, gain=st.floats(0.05, 20.0), sign=st.sampled_from([-1, 1]), shift=st.floats(-20, 20))
@settings(max_examples=15, deadline=None)
def test_scale_and_offset_of_a_channel_do_not_matter(
    size: tuple[int, int], seed: int, gain: float, sign: int, shift: float
) -> None:
    clean, seen = random_tensor(seed, 4, 5, *size), random_tensor(seed + 1, 1, 5, *size)
    before = descriptors_of(clean)(seen)
    for activation in (clean, seen):
        activation[:, 2] = sign * gain * activation[:, 2] + shift
    torch.testing.assert_close(descriptors_of(clean)(seen), before, rtol=1e-3, atol=1e-3)


@each_size
def test_channels_that_never_varied_do_not_count(size: tuple[int, int]) -> None:
    clean, seen = random_tensor(0, 4, 5, *size), random_tensor(1, 1, 5, *size)
    constant = torch.full((4, 2, *size), 3.0)
    dead = descriptors_of(torch.cat([clean, constant], 1))(torch.cat([seen, random_tensor(2, 1, 2, *size)], 1))
    torch.testing.assert_close(dead, descriptors_of(clean)(seen), rtol=1e-4, atol=1e-5)


@each_size
@pytest.mark.parametrize("level", ["usual", "the mean", "far beyond"])
def test_gradients_are_finite(size: tuple[int, int], level: str) -> None:
    clean = random_tensor(0, 4, 5, *size)
    descriptors = descriptors_of(clean)
    levels = {"usual": random_tensor(1, 1, 5, *size), "the mean": descriptors.mean.expand(1, 5, *size)}
    seen = levels.get(level, torch.full((1, 5, *size), 1e6)).clone().requires_grad_()
    found = descriptors(seen)
    found.sum().backward()
    assert found.isfinite().all() and seen.grad is not None and seen.grad.isfinite().all()


def test_views_are_absolute_relative_and_the_images_own() -> None:
    raw = random_tensor(3, 1, DESCRIPTORS, *SAME)
    mean, deviation = torch.arange(1.0, 6.0).double(), torch.tensor([0.5, 1, 2, 3, 4]).double()
    moments = Moments(10, mean[None], (10 * deviation.square())[None])
    group = StandardizedDescriptors("layer", descriptors_of(random_tensor(0, 4, 5, *SAME)), LayerStatistics(moments))
    standardized = (raw.double() - mean[:, None, None]) / deviation[:, None, None] / MODERATE
    whole = standardized.mean((2, 3), keepdim=True)
    expected = [standardized, standardized - whole, whole + 0 * standardized]
    for found, own in zip(group.views(raw), expected, strict=True):
        torch.testing.assert_close(found.double(), own / (1 + own.abs()), rtol=1e-4, atol=1e-5)
        assert found.shape == raw.shape
    brighter = group.views(raw + 0.7)
    torch.testing.assert_close(brighter[1], group.views(raw)[1], rtol=1e-4, atol=1e-5)

"""Resampling and windows on the working grid, against slow and obvious ones."""

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from support import obvious
from support.tensors import odd_kernels, random_tensor, seeds, sizes
from zmask_ros.defense.evidence.grid import area_resample, box_pool, layer_kernel, maximum_filter, working_grid


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


@settings(deadline=None, max_examples=40)
@given(sizes, odd_kernels, seeds)
def test_the_largest_in_a_window_is_that_of_max_pooling(size, kernel, seed):
    heat = random_tensor(seed, 2, 1, *size)
    assert torch.equal(maximum_filter(heat, kernel), F.max_pool2d(heat, kernel, 1, (kernel[0] // 2, kernel[1] // 2)))


def test_grids_and_kernels():
    assert working_grid((360, 480), 8) == (45, 60)
    assert working_grid((361, 475), 8) == (46, 60)
    assert layer_kernel((19, 25), (45, 60), (45, 60)) == (19, 25)
    assert all(k % 2 == 1 for k in layer_kernel((19, 25), (45, 60), (23, 30)))
    assert layer_kernel((3, 3), (45, 60), (5, 7)) == (1, 1)

"""Moments that are merged."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.tensors import random_tensor, seeds
from zmask_ros.defense import Moments
from zmask_ros.training.clean_fit import observe


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

"""Connected components, against a flood from cell to cell."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.tensors import seeds, sizes
from zmask_ros.defense.masking.morphology import connected_to, label_components


@settings(deadline=None, max_examples=40)
@given(sizes, st.floats(0.2, 0.9), seeds)
def test_what_hangs_together_equals_a_flood_from_the_seeds(size, share, seed):
    generator = torch.Generator().manual_seed(seed)
    candidates = torch.rand(2, 1, *size, generator=generator) < share
    starts = torch.rand(2, 1, *size, generator=generator) < 0.02
    for own, image, chosen in zip(connected_to(starts, candidates), candidates, starts, strict=True):
        assert {(i, j) for _, i, j in own.nonzero().tolist()} == flood(chosen[0] & image[0], image[0])


def flood(starts: torch.Tensor, candidates: torch.Tensor) -> set[tuple[int, int]]:
    """The cells of ``candidates`` [h, w] that are reached from ``starts``, neighbor by neighbor."""
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
    count, parts = label_components(region.byte().numpy())
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
    assert torch.equal(connected_to(seeds, candidates), expected)

"""Whether a mask made a difference, against an obvious search for changes that are too large."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from zmask_ros.defense.masking.influence import LEAST_SHARE, makes_difference

HEIGHT, WIDTH = 40, 60


def obvious(before: np.ndarray, after: np.ndarray, masked: np.ndarray, cell: tuple[int, int]) -> bool:
    """Count the changed pixels, and try each window that is larger than a cell."""
    changed = (before != after) & ~masked
    height, width = (size + (1 if size % 2 == 0 else 2) for size in cell)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(changed, 0), (height, width))
    return bool(changed.mean() > LEAST_SHARE or windows.all(axis=(-2, -1)).any())


@given(
    seed=st.integers(0, 2**32 - 1),
    blocks=st.integers(0, 4),
    noise=st.sampled_from([0.0, LEAST_SHARE / 2, LEAST_SHARE, 2 * LEAST_SHARE]),
    cell=st.sampled_from([(3, 3), (4, 4), (5, 8)]),
)
def test_it_says_what_an_obvious_search_says(seed, blocks, noise, cell):
    random = np.random.default_rng(seed)
    before = random.integers(0, 3, (2, HEIGHT, WIDTH), np.uint8)
    after, masked = before.copy(), np.zeros(before.shape, bool)
    masked[:, 5:15, 20:35] = True
    after[random.random(before.shape) < noise] += 1
    for _ in range(blocks):
        image, y, x = random.integers(2), random.integers(5, HEIGHT - 9), random.integers(5, WIDTH - 12)
        # Larger than a cell by a pixel, as large, or not.
        h, w = (size + random.integers(-1, 3) for size in cell)
        after[image, y : y + h, x : x + w] = before[image, y : y + h, x : x + w] + 1
    said = makes_difference(*map(torch.from_numpy, (before, after)), torch.from_numpy(masked)[:, None].float(), cell)
    assert said.tolist() == [obvious(*image, cell) for image in zip(before, after, masked, strict=True)]


def test_what_changes_under_the_mask_makes_no_difference():
    before, masked = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8), torch.zeros(1, 1, HEIGHT, WIDTH)
    masked[..., 5:30, 10:50] = 1
    after = before + masked[:, 0].byte()
    assert makes_difference(before, after, masked, (8, 8)).tolist() == [False]
    assert makes_difference(before, after, torch.zeros_like(masked), (8, 8)).tolist() == [True]

"""Labels of class scores: the same as those of the scores brought to the image's size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from zmask_ros.segmenters.labels import at_size, labels_of


def blobs(batch: int, classes: int, height: int, width: int, seed: int) -> Tensor:
    """Scores with areas of one class, as networks have them; doubles, so that no two classes are equally likely."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(batch, classes, 3, 3, generator=generator, dtype=torch.float64)
    return at_size(coarse, (height, width)) + 0.05 * torch.randn(
        batch, classes, height, width, generator=generator, dtype=torch.float64
    )


@given(*(st.integers(1, n) for n in (2, 5, 12, 12, 8, 8)), st.integers(0, 1000), st.booleans())
def test_whole_steps(
    batch: int, classes: int, height: int, width: int, down: int, across: int, seed: int, channels_last: bool
) -> None:
    scores, size = blobs(batch, classes, height, width, seed), (height * down, width * across)
    kept = scores.contiguous(memory_format=torch.channels_last) if channels_last else scores
    labels = labels_of(kept, size)
    assert labels.dtype == torch.uint8
    assert labels.is_contiguous()
    assert torch.equal(labels, at_size(scores, size).argmax(1).to(torch.uint8))


@given(*(st.integers(1, 40) for _ in range(4)))
def test_any_size(height: int, width: int, rows: int, columns: int) -> None:
    scores = blobs(1, 4, height, width, height)
    expected = at_size(scores, (rows, columns)).argmax(1).to(torch.uint8)
    assert torch.equal(labels_of(scores, (rows, columns)), expected)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_scores_that_are_no_numbers(broken: float) -> None:
    scores = blobs(1, 4, 6, 8, 0)
    scores[0, 2, 3, 4] = broken
    assert torch.equal(labels_of(scores, (48, 64)), at_size(scores, (48, 64)).argmax(1).to(torch.uint8))

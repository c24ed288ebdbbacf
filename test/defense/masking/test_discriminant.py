"""Fisher's discriminant."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zmask_ros.defense.masking.discriminant import discriminant


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.integers(2, 40), st.integers(1, 12))
def test_the_discriminant_is_zero_on_the_street_and_one_on_the_patch(seed, cells, features):
    generator = torch.Generator().manual_seed(seed)
    inside, outside = (torch.randn(cells, features, generator=generator).double() for _ in range(2))
    weights, offset = discriminant(inside + 2, outside)
    assert float((outside @ weights + offset).mean()) == pytest.approx(0, abs=1e-9)
    assert float(((inside + 2) @ weights + offset).mean()) == pytest.approx(1, abs=1e-6)

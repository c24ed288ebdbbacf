"""Random tensors, and hypothesis' strategies for what the analysis takes."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

odd_kernels = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(lambda k: (2 * k[0] + 1, 2 * k[1] + 1))
sizes = st.tuples(st.integers(1, 19), st.integers(1, 23))
seeds = st.integers(0, 2**16)


def random_tensor(seed: int, *shape: int) -> torch.Tensor:
    """Normal values of mean 1 and standard deviation 3."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3 + 1

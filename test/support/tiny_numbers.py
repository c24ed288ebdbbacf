"""Whether this thread takes tiny numbers for zero."""

from __future__ import annotations

import torch


def flushed() -> bool:
    """Whether a product that is too small becomes zero here; by its bits, since comparing would flush it as well."""
    return int((torch.tensor([1e-38]) * 0.1).view(torch.int32)) == 0

"""A segmenter that notices when its network puts out something that is not a number."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zmask_ros.segmenters.segmenter import Segmenter

KEPT_CHECKS = 4
"""Enough for one frame: one pass, and a second one of what is flagged."""


@dataclass(frozen=True)
class CheckedSegmenter(Segmenter):
    """A segmenter that remembers whether its last outputs were finite, since labels do not show a NaN.

    Attributes:
        finite: a bool scalar for each of the last passes, on the network's device.
    """

    finite: deque[Tensor] = field(default_factory=lambda: deque(maxlen=KEPT_CHECKS))

    def logits(self, x: Tensor) -> Tensor:
        """Class scores as of `Segmenter.logits`, whose finiteness is kept."""
        logits = super().logits(x)
        # A NaN or an infinity anywhere ends up in the sum.
        self.finite.append(logits.detach().sum(dtype=torch.float32).isfinite())
        return logits

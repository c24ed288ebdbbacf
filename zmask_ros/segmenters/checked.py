"""A segmenter that notices when its network puts out something that is not a number."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zmask_ros.segmenters.segmenter import Segmenter

# Of one frame: a pass, and a second one of what is flagged.
KEPT_CHECKS = 4


@dataclass(frozen=True)
class CheckedSegmenter(Segmenter):
    """A segmenter that remembers whether its last outputs were finite: the labels of a NaN look like any other's."""

    finite: deque[Tensor] = field(default_factory=lambda: deque(maxlen=KEPT_CHECKS))

    def logits(self, x: Tensor) -> Tensor:
        """As `Segmenter.logits`; a NaN or an infinity anywhere ends up in the sum."""
        logits = super().logits(x)
        self.finite.append(logits.detach().sum(dtype=torch.float32).isfinite())
        return logits

"""What the defense needs of a segmentation network, as a protocol: `zmask_ros.segmenters.Segmenter` is one."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class SegmentationNetwork(Protocol):
    """A network for semantic segmentation with its device, its preprocessing and its identity."""

    @property
    def name(self) -> str:
        """Name of the segmenter, for people."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, hexadecimal."""
        ...

    @property
    def network(self) -> nn.Module:
        """The module whose layers are tapped."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        ...

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the images that the network takes, in pixels."""
        ...

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of the RGB channels that preprocessing subtracts."""
        ...

    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviation of the RGB channels that preprocessing divides by."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """Class scores [B, K, h, w] of normalized images ``x`` [B, 3, h, w]."""
        ...

    def scores(self, x: Tensor) -> Tensor:
        """The same at the size at which the network puts them out."""
        ...

"""What stands in for masked pixels: colours that flow in from around them.

Z-Mask (AAAI 2023) paints masked pixels in the dataset's mean. That is a grey box which no street has, and a network
without a defence pays for it beside the box as well. A pull-push pyramid (Gortler et al., The Lumigraph, 1996) costs
hardly more and leaves nothing to see.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zmask_ros.defense.pooling import resample

SMALLEST_WEIGHT = 1e-6


def fill_masked(images: Tensor, mask: Tensor) -> Tensor:
    """``images`` with the masked pixels interpolated from the others; differentiable in both.

    Args:
        images: [B, C, h, w].
        mask: [B, 1, h, w] in 0..1; 1 hides a pixel.

    Returns:
        [B, C, h, w]: unmasked pixels are unchanged; where all of an image is masked it becomes 0, the dataset's mean
        of normalised images.
    """
    shown = 1 - mask
    # Plane by plane in memory: resampling so is several times as fast.
    planes = torch.cat([images * shown, shown], 1).contiguous()
    return images.lerp(_widened(planes), mask)


def _interpolated(planes: Tensor) -> Tensor:
    """Colours [B, C, h, w] without gaps of [B, C + 1, h, w]: colours times their weight, and last that, in 0..1."""
    weighted, weight = planes[:, :-1], planes[:, -1:]
    if planes.shape[-2:] == (1, 1):
        return weighted / weight.clamp_min(SMALLEST_WEIGHT)
    return torch.addcmul(weighted, 1 - weight, _widened(planes))


def _widened(planes: Tensor) -> Tensor:
    """The colours of half the size, brought back to that of ``planes``."""
    return resample(_interpolated(_halved(planes)), (planes.shape[-2], planes.shape[-1]))


def _halved(planes: Tensor) -> Tensor:
    """At half the size, rounded up: means of two by two pixels, but of odd sizes, whose means overlap a little."""
    height, width = planes.shape[-2:]
    return resample(planes, (-(-height // 2), -(-width // 2)))

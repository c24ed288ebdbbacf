"""What stands in for masked pixels: colours that flow in from around them.

Z-Mask (AAAI 2023) paints masked pixels in the dataset's mean. That is a grey box which no street has, and a network
without a defence pays for it beside the box as well. A pull-push pyramid (Gortler et al., The Lumigraph, 1996) costs
hardly more and leaves nothing to see.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

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
    return images * shown + mask * _pull_push(images * shown, shown)


def _pull_push(weighted: Tensor, weight: Tensor) -> Tensor:
    """Interpolation [B, C, h, w] of colours that come multiplied with their ``weight`` [B, 1, h, w], 0..1."""
    height, width = weight.shape[-2:]
    if max(height, width) == 1:
        return weighted / weight.clamp_min(SMALLEST_WEIGHT)
    halved = (-(-height // 2), -(-width // 2))
    coarse = _pull_push(F.adaptive_avg_pool2d(weighted, halved), F.adaptive_avg_pool2d(weight, halved))
    return weighted + (1 - weight) * F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)

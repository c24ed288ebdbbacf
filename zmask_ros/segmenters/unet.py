"""A small U-Net, the ordinary network among the shipped segmenters: an encoder-decoder with skip connections.

After Ronneberger, Fischer, Brox, "U-Net" (MICCAI 2015), with batch norm, padding, and a stem at half the resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALL = (16, 32, 64, 128, 192)
"""Channels of the maps of a small U-Net, at 1/2 to 1/32 of the resolution."""


def convolution(inputs: int, outputs: int, stride: int = 1, norm: bool = True) -> nn.Sequential:
    """A 3x3 convolution, batch norm where wanted, and a ReLU."""
    layer = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=not norm)
    return nn.Sequential(layer, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU())


def upsampled(x: Tensor, like: Tensor) -> Tensor:
    """``x`` interpolated to the height and width of ``like``."""
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


class UNet(nn.Module):
    """An encoder of max-poolings whose maps are joined to the decoder's.

    Args:
        classes: number of classes.
        widths: channels of the encoder's maps, fine to coarse; the first is at half the resolution.
        norm: whether convolutions have batch norm behind them.
    """

    def __init__(self, classes: int, widths: Sequence[int] = SMALL, norm: bool = True) -> None:
        super().__init__()
        first = widths[0]
        self.stem = nn.Sequential(convolution(3, first, 2, norm), convolution(first, first, 1, norm))
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), convolution(fine, coarse, 1, norm), convolution(coarse, coarse, 1, norm))
            for fine, coarse in pairwise(widths)
        )
        self.up = nn.ModuleList(convolution(fine + coarse, fine, 1, norm) for fine, coarse in pairwise(widths))
        self.classifier = nn.Conv2d(first, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores [B, classes, H, W] of normalized images [B, 3, H, W]."""
        maps = [self.stem(x)]
        for down in self.down:
            maps.append(down(maps[-1]))
        y = maps.pop()
        for up in reversed(self.up):
            skipped = maps.pop()
            y = up(torch.cat([upsampled(y, skipped), skipped], 1))
        return upsampled(self.classifier(y), x)


def small_unet(classes: int) -> UNet:
    """The U-Net that is shipped, of 1.4 million parameters."""
    return UNet(classes)

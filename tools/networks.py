"""Small segmentation networks of several families, from scratch: what a transferable head learns from.

Each takes images [B, 3, H, W] and puts out scores [B, classes, H, W]. In a segmenter's YAML a family is
`builder: networks:unet`, where this folder is on the Python path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model

from zmask_ros.segmenters.unet import UNet, convolution, upsampled

CLASSES = 11
UNET = (16, 32, 64, 128)
"""Channels of the maps of a U-Net, fine to coarse."""
SQUEEZED = 4
"""Of how many channels a squeeze-and-excitation block makes one."""
WIDENED = 3
"""Of one channel, a ConvNeXt block makes so many."""


class FactorizedBlock(nn.Module):
    """A residual block of 3x1 and 1x3 convolutions, the second two dilated."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.plain = self._pair(channels, 1)
        self.dilated = self._pair(channels, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """A map of the same shape."""
        return F.relu(x + self.dilated(F.relu(self.plain(x))))

    @staticmethod
    def _pair(channels: int, dilation: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, channels, (3, 1), padding=(dilation, 0), dilation=(dilation, 1)),
            nn.ReLU(),
            nn.Conv2d(channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation), bias=False),
            nn.BatchNorm2d(channels),
        )


class DilatedNetwork(nn.Module):
    """Three downsamplings, then growing dilations, and a light decoder."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.down1, self.down2 = convolution(3, 16, 2), convolution(16, 48, 2)
        self.fine = nn.Sequential(*(FactorizedBlock(48, 1) for _ in range(2)))
        self.down3 = convolution(48, 96, 2)
        self.coarse = nn.Sequential(*(FactorizedBlock(96, dilation) for dilation in (1, 2, 4, 8, 2, 4, 8)))
        self.up = nn.Sequential(nn.ConvTranspose2d(96, 48, 2, 2), nn.BatchNorm2d(48), nn.ReLU())
        self.last = FactorizedBlock(48, 1)
        self.classifier = nn.Conv2d(48, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        y = self.coarse(self.down3(self.fine(self.down2(self.down1(x)))))
        return upsampled(self.classifier(self.last(self.up(y))), x)


class PyramidDecoder(nn.Module):
    """A light feature pyramid: maps of several resolutions, fine to coarse, are brought to one width and added up."""

    def __init__(self, widths: Sequence[int], width: int, classes: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in widths)
        self.smooth = convolution(width, width)
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, maps: Sequence[Tensor], x: Tensor) -> Tensor:
        """Scores, at the size of the images ``x``."""
        *finer, y = [lateral(own) for lateral, own in zip(self.lateral, maps, strict=True)]
        for own in reversed(finer):
            y = upsampled(y, own) + own
        return upsampled(self.classifier(self.smooth(y)), x)


class SqueezeExcitation(nn.Module):
    """Weighs channels by the mean of all of them over the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = channels // SQUEEZED
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """A map of the same shape."""
        return x * torch.sigmoid(self.weigh(x))


class ExcitedBlock(nn.Module):
    """A residual block with squeeze-and-excitation that halves the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(inputs, outputs, 2),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcitation(outputs),
        )
        self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """A map of half the resolution."""
        return F.relu(self.body(x) + self.skip(x))


class SqueezeExcitationNetwork(nn.Module):
    """Residual blocks with squeeze-and-excitation, and a feature pyramid."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = (24, 48, 96, 128)
        self.stem = convolution(3, widths[0], 2)
        self.stages = nn.ModuleList(ExcitedBlock(*pair) for pair in pairwise((widths[0], *widths)))
        self.decoder = PyramidDecoder(widths, 48, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        y, maps = self.stem(x), []
        for stage in self.stages:
            y = stage(y)
            maps.append(y)
        return self.decoder(maps, x)


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution of each channel by itself, and one of all channels at each pixel."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class TwoBranchNetwork(nn.Module):
    """A shallow branch at 1/8 and a deep one at 1/32 of the resolution, fused at 1/8."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.shallow = nn.Sequential(convolution(3, 24, 2), separable(24, 40, 2), separable(40, 64, 2))
        self.deep = nn.Sequential(
            *(separable(64, 96, 2), separable(96, 96)),
            *(separable(96, 128, 2), separable(128, 128), separable(128, 128)),
        )
        # No batch norm: a single value a channel has no spread.
        self.context = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(128, 128, 1), nn.ReLU())
        self.from_shallow, self.from_deep = nn.Conv2d(64, 96, 1), nn.Conv2d(128, 96, 1)
        self.fuse = nn.Sequential(nn.BatchNorm2d(96), nn.ReLU(), separable(96, 96), separable(96, 96))
        self.classifier = nn.Conv2d(96, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        shallow = self.shallow(x)
        deep = self.deep(shallow)
        deep = deep + self.context(deep)
        fused = self.fuse(upsampled(self.from_deep(deep), shallow) + self.from_shallow(shallow))
        return upsampled(self.classifier(fused), x)


class BackboneNetwork(nn.Module):
    """The first stages of a classifier, one after the other, and a feature pyramid.

    Args:
        classifier: whose children are its stages.
        widths: channels that the stages put out which the pyramid takes, by their names, fine to coarse.
        classes: number of classes.
    """

    def __init__(self, classifier: nn.Module, widths: dict[str, int], classes: int) -> None:
        super().__init__()
        stages = dict(classifier.named_children())
        last = list(stages).index(list(widths)[-1])
        self.body = nn.ModuleDict(dict(list(stages.items())[: last + 1]))
        self.taken = frozenset(widths)
        self.decoder = PyramidDecoder(tuple(widths.values()), 64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        y, maps = x, []
        for name, stage in self.body.items():
            y = stage(y)
            if name in self.taken:
                maps.append(y)
        return self.decoder(maps, x)


class LayerNorm2d(nn.GroupNorm):
    """Normalizes all channels and positions of an image together."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)


class ConvNextBlock(nn.Module):
    """A residual block: 7x7 of each channel by itself, layer norm, and two maps of each pixel with a GELU between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
            LayerNorm2d(channels),
            nn.Conv2d(channels, WIDENED * channels, 1),
            nn.GELU(),
            nn.Conv2d(WIDENED * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """A map of the same shape."""
        return x + self.body(x)


class ConvNextNetwork(nn.Module):
    """Patches of 4x4 pixels, then three stages of ConvNeXt blocks, and a feature pyramid."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 4, 4), LayerNorm2d(32))
        self.stage1 = ConvNextBlock(32)
        self.down2, self.stage2 = nn.Conv2d(32, 64, 2, 2), nn.Sequential(*(ConvNextBlock(64) for _ in range(2)))
        self.down3, self.stage3 = nn.Conv2d(64, 96, 2, 2), nn.Sequential(*(ConvNextBlock(96) for _ in range(3)))
        self.decoder = PyramidDecoder((32, 64, 96), 64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        fine = self.stage1(self.stem(x))
        middle = self.stage2(self.down2(fine))
        return self.decoder([fine, middle, self.stage3(self.down3(middle))], x)


def unet(classes: int = CLASSES) -> nn.Module:
    """Encoder-decoders with skip connections, as in U-Net."""
    return UNet(classes, UNET)


def unet_without_norm(classes: int = CLASSES) -> nn.Module:
    """Networks without any normalization, whose activations have no common scale."""
    return UNet(classes, UNET, norm=False)


def dilated(classes: int = CLASSES) -> nn.Module:
    """Networks that keep 1/8 of the resolution and see far by dilation, as ERFNet does."""
    return DilatedNetwork(classes)


def squeeze_excitation(classes: int = CLASSES) -> nn.Module:
    """Networks with channel attention, which may level a patch out or amplify it everywhere."""
    return SqueezeExcitationNetwork(classes)


def two_branch(classes: int = CLASSES) -> nn.Module:
    """Real-time networks of two branches, as Fast-SCNN."""
    return TwoBranchNetwork(classes)


def resnet(classes: int = CLASSES) -> nn.Module:
    """Residual backbones: torchvision's ResNet-18."""
    widths = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}
    return BackboneNetwork(get_model("resnet18", weights=None), widths, classes)


def shufflenet(classes: int = CLASSES) -> nn.Module:
    """Mobile backbones whose channels are split and shuffled: torchvision's ShuffleNetV2."""
    widths = {"maxpool": 24, "stage2": 116, "stage3": 232, "stage4": 464}
    return BackboneNetwork(get_model("shufflenet_v2_x1_0", weights=None), widths, classes)


def efficientnet(classes: int = CLASSES) -> nn.Module:
    """Mobile backbones of inverted residuals with SiLU and channel attention: torchvision's EfficientNet-B0."""
    widths = {"2": 24, "3": 40, "5": 112, "6": 192}
    return BackboneNetwork(get_model("efficientnet_b0", weights=None).features, widths, classes)


def convnext(classes: int = CLASSES) -> nn.Module:
    """Networks after transformers: patches, large kernels, layer norm and GELU, as ConvNeXt."""
    return ConvNextNetwork(classes)


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Attributes:
        build: makes an untrained network of it, for a number of classes.
        shallow, deep: layers S and D of its description, as one would name them who does not try.
        peak_lr: highest learning rate that it bears.
    """

    build: Callable[..., nn.Module]
    shallow: tuple[str, ...]
    deep: tuple[str, ...]
    peak_lr: float = 3e-3


FAMILIES = {
    "unet": Family(unet, ("stem", "down.0"), ("down.1", "down.2")),
    "unet_without_norm": Family(unet_without_norm, ("stem", "down.0"), ("down.1", "down.2"), peak_lr=1.5e-3),
    "dilated": Family(dilated, ("down2", "fine"), ("down3", "coarse")),
    "squeeze_excitation": Family(squeeze_excitation, ("stem", "stages.0"), ("stages.1", "stages.2")),
    "two_branch": Family(two_branch, ("shallow.0", "shallow.1"), ("shallow.2", "deep")),
    "resnet": Family(resnet, ("body.relu", "body.layer1"), ("body.layer2", "body.layer3")),
    "shufflenet": Family(shufflenet, ("body.conv1", "body.maxpool"), ("body.stage2", "body.stage3")),
    "efficientnet": Family(efficientnet, ("body.1", "body.2"), ("body.3", "body.5")),
    "convnext": Family(convnext, ("stem", "stage1"), ("stage2", "stage3"), peak_lr=1.5e-3),
}
"""By the names of their builders."""

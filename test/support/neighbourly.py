"""A network that a patch can spoil in a few steps, and frames for it: for tests of attacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zmask_ros.attacks import EotRanges, Recipe
from zmask_ros.attacks.eot import Transforms
from zmask_ros.attacks.pasting import apply_patches
from zmask_ros.segmenters import Description, Segmenter

EXACT = EotRanges(
    scale=(1, 1), rotation_deg=(0, 0), yaw_deg=(0, 0), brightness=(0, 0), contrast=(1, 1), noise=(0, 0), blur=(0, 0)
)
RECIPE = Recipe(size=(16, 20), steps=25, batch=2, lr=0.1, smoothness=0.0, eot=replace(EXACT, scale=(1.5, 2.0)), seed=4)
Frame = tuple[np.ndarray, np.ndarray]

DESCRIPTION = """
builder: support.neighbourly:Neighbourly
input_size: [60, 80]
mean: [0.5, 0.5, 0.5]
std: [0.5, 0.5, 0.5]
classes: {red: [255, 0, 0], blue: [0, 0, 255]}
layers: {shallow: [], deep: []}
"""


class Neighbourly(nn.Module):
    """Two classes: is a pixel's wide neighbourhood redder or bluer? So a patch reaches far beyond itself."""

    def forward(self, x: Tensor) -> Tensor:
        # One direction after the other: the same mean at a twentieth of the time.
        rows = functional.avg_pool2d(x[:, :1] - x[:, 2:], (1, 41), stride=1, padding=(0, 20))
        difference = functional.avg_pool2d(rows, (41, 1), stride=1, padding=(20, 0))
        return torch.cat([difference, -difference], 1) * 8


class Chatty(Neighbourly):
    """The same, with an auxiliary output that says the opposite."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        out = super().forward(x)
        return {"out": out, "aux": out.flip(1)}


def segmenter(network: nn.Module | None = None) -> Segmenter:
    """One around ``network``, by default a `Neighbourly`, on the CPU."""
    description = Description(
        name="neighbourly",
        source=Path("neighbourly.yaml"),
        builder="test:none",
        classes={"red": (255, 0, 0), "blue": (0, 0, 255)},
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        input_size=(60, 80),
        shallow_layers=(),
        deep_layers=(),
        head_layers=(),
        screen_layers=(),
    )
    return Segmenter(description, (network or Neighbourly()).eval(), "0" * 64, torch.device("cpu"))


def frames() -> list[Frame]:
    """Four times the same: the left half is red, the right half blue."""
    image = np.full((60, 80, 3), 100, np.uint8)
    image[:, :40, 0], image[:, 40:, 2] = 150, 150
    labels = np.zeros((60, 80), np.uint8)
    labels[:, 40:] = 1
    return [(image, labels)] * 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def apply_patch(
    images: Tensor, patch: Tensor, transforms: Transforms, shape: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Put one patch [3, h, w] into images, as `apply_patches` does; the mask is [B, 1, H, W]."""
    return apply_patches(images, patch[None], (transforms,), shape)

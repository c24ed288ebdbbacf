"""A segmentation network that is as small as one can be, described and fitted: for tests of everything around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from zmask_ros.defense import save_profile
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.clean_fit import ProfileFit
from zmask_ros.training.plans import mean_z_plan
from zmask_ros.training.sources import CleanFrame

DESCRIPTION = """
builder: support.tiny_network:build
arguments: {{seed: {seed}}}
input_size: [48, 64]
mean: [0.5, 0.5, 0.5]
std: [0.25, 0.25, 0.25]
classes: {{Sky: [70, 130, 180], Road: [128, 64, 128], Car: [0, 0, 142]}}
layers: {{shallow: ["0"], deep: ["2"]}}
"""


def build(seed: int, classes: int = 3) -> nn.Module:
    """Three convolutions with random weights that follow from ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    layers = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.Conv2d(8, classes, 1)
    network = nn.Sequential(*layers)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return network


def clean_image(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    """uint8 [height, width, 3]: a slanted gradient with a little noise, another one for every index."""
    generator = np.random.default_rng(index)
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    colours = generator.uniform(40, 200, (3, 3))
    image = colours[0] + rows[..., None] * (colours[1] - colours[0]) + columns[..., None] * (colours[2] - colours[0])
    return np.clip(image + generator.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def describe(folder: Path, seed: int = 0) -> Path:
    """Write the description of the network with these weights into ``folder``."""
    path = folder / f"tiny_{seed}.yaml"
    path.write_text(DESCRIPTION.format(seed=seed))
    return path


def fit(description: Path) -> Path:
    """Fit a profile on clean images and write it beside the description."""
    segmenter = load_segmenter(str(description), "cpu")
    profile_fit = ProfileFit(segmenter, mean_z_plan(segmenter))
    profile_fit.add_all(CleanFrame("clean", "/image_raw", index, clean_image(index)) for index in range(40))
    path = description.with_suffix(".zmask.safetensors")
    save_profile(profile_fit.finish(false_alarm_rate=0.01), path)
    return path


def describe_with(folder: Path, **changes: str) -> str:
    entries = {
        "builder": "support.tiny_network:build",
        "arguments": "{seed: 0}",
        "input_size": "[48, 64]",
        "mean": "[0.5, 0.5, 0.5]",
        "std": "[0.25, 0.25, 0.25]",
        "classes": "{Sky: [70, 130, 180], Road: [128, 64, 128], Car: [0, 0, 142]}",
        "layers": '{shallow: ["0"], deep: ["2"]}',
    } | changes
    path = folder / "mine.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in entries.items() if value))
    return str(path)


def fit_long(description: Path) -> Path:
    """As `fit`, on enough frames to know how far clean stretches lie from each other."""
    segmenter = load_segmenter(str(description), "cpu")
    profile_fit = ProfileFit(segmenter, mean_z_plan(segmenter))
    profile_fit.add_all(CleanFrame("clean", "/image_raw", index, clean_image(index)) for index in range(120))
    path = description.with_suffix(".long.zmask.safetensors")
    save_profile(profile_fit.finish(false_alarm_rate=0.01), path)
    return path

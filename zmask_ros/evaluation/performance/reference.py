"""The analysis as the paper describes it and as its authors' demo does it, for comparison with ours.

Neither is their code. Both use the layers of a profile without an evidence head, as ours does in the comparison.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from zmask_ros.defense import Branch, Evidence, Profile, tap
from zmask_ros.defense.analyzer import LayerEvidence
from zmask_ros.defense.evidence.grid import Size, layer_kernel, resample
from zmask_ros.defense.evidence.overactivation import Activations, fuse_layers, kernel_cascade
from zmask_ros.defense.profile.detector import statistics_key
from zmask_ros.evaluation.performance.timing import median_ratio
from zmask_ros.segmenters import Segmenter

DEMO_REPEATS = 2
DEMO_GRID = (150, 300)
DEMO_KERNELS = ((64, 128), (32, 64), (16, 32), (8, 16))
"""Kernels of S; D has the first two, and also the layers of S."""


@torch.inference_mode()
def slowdowns(network: Segmenter, profile: Profile, x: Tensor, repeats: int, demo: bool) -> dict[str, float]:
    """How many times longer than our analysis the others take for ``x`` [1, 3, h, w]: medians, by name; ``demo``: all.

    All run without an evidence head; those that want activations are given those of one pass.
    """
    plain = profile.without_head()
    detector, branches = plain.detector, (plain.detector.shallow, plain.detector.deep)
    ours = LayerEvidence(*branches, detector.statistics, plain.grid).to(x.device)
    ways: dict[str, tuple[Callable[[Activations], Evidence], int]] = {
        "naive_analysis": (lambda taps: naive_evidence(plain, taps), repeats),
        "naive_passes": (lambda _: demo_evidence(network, plain, branches, plain.grid, x), repeats),
    }
    if demo:
        ways["naive_demo"] = lambda _: demo_evidence(network, plain, demo_branches(plain), DEMO_GRID, x), DEMO_REPEATS
    with tap(network, plain.layers) as taps:
        network.logits(x)
        kept = {layer: taps[layer] for layer in plain.layers}
        ours(kept)
        factors = {name: median_ratio(x.device, ours, way, [kept] * times) for name, (way, times) in ways.items()}
    return {name: round(factor, 1) for name, factor in factors.items()}


def naive_evidence(profile: Profile, taps: Activations) -> Evidence:
    """H_S and H_D step by step: every channel z-scored and pooled at the layer's own resolution, kernel by kernel."""
    heats = []
    for name, branch in (("shallow", profile.detector.shallow), ("deep", profile.detector.deep)):
        layers = []
        for layer in branch.layers:
            activation, statistics = taps[layer], profile.detector.statistics[statistics_key(name, layer)]
            maps = []
            for kernel, deviation in zip(branch.kernels, statistics.deviations, strict=True):
                window = layer_kernel(kernel, profile.grid, (activation.shape[-2], activation.shape[-1]))
                z, border = _z_scores(activation, statistics.mean, deviation), (window[0] // 2, window[1] // 2)
                pooled = F.avg_pool2d(z, window, 1, border, count_include_pad=False)
                maps.append(pooled.abs().mean(1, keepdim=True))
            layers.append(resample(kernel_cascade(maps), profile.grid))
        heats.append(fuse_layers(layers))
    return Evidence(*heats)


def demo_branches(profile: Profile) -> tuple[Branch, Branch]:
    """S and D with the profile's layers, pooled and combined as in the authors' demo."""
    shallow = profile.detector.shallow.layers
    layers = tuple(dict.fromkeys(profile.detector.deep.layers + shallow))
    return Branch(shallow, DEMO_KERNELS), Branch(layers, DEMO_KERNELS[:2])


@torch.inference_mode()
def demo_evidence(
    segmenter: Segmenter, profile: Profile, branches: tuple[Branch, Branch], grid: Size, x: Tensor
) -> Evidence:
    """H_S and H_D as the authors' demo computes them: a forward pass for each layer, and wide windows one by one.

    An activation is z-scored at its own size by one sigma a channel, brought to the grid, and pooled there directly,
    without a border; what comes out is stretched back to the grid.

    Args:
        segmenter: The network.
        profile: Its clean statistics are used, of whichever branch has the layer.
        branches: S and D, with kernels on ``grid``.
        grid: Size of the working grid.
        x: A normalized image, [1, 3, h, w].
    """
    statistics, z = profile.detector.statistics, {}
    for layer in dict.fromkeys(branches[0].layers + branches[1].layers):
        keys = [statistics_key(name, layer) for name in ("shallow", "deep")]
        own = next(statistics[key] for key in keys if key in statistics)
        with tap(segmenter, [layer]) as taps:
            segmenter.logits(x)
            z[layer] = resample(_z_scores(taps[layer], own.mean, own.moments.std[0]), grid)

    def heat(layer: str, kernel: Size) -> Tensor:
        return resample(F.avg_pool2d(z[layer], kernel, 1).abs().mean(1, keepdim=True), grid)

    return Evidence(
        *(
            fuse_layers([kernel_cascade([heat(layer, kernel) for kernel in branch.kernels]) for layer in branch.layers])
            for branch in branches
        )
    )


def _z_scores(activation: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Of an activation [B, C, H, W], channel by channel; ``mean`` and ``deviation`` [C]."""
    mean, deviation = mean.to(activation), deviation.to(activation).clamp_min(1e-6)
    return (activation - mean[:, None, None]) / deviation[:, None, None]

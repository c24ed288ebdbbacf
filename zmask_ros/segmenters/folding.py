"""Batch normalization folded into the convolutions before it: the same function with fewer passes over memory."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from zmask_ros.segmenters.segmenter import Segmenter

LARGEST_ERROR = 1e-3
"""Of logits, against the largest one, beyond which a folded network is not taken for the same."""


def with_folded_norms(segmenter: Segmenter, untouched: Collection[str] = ()) -> Segmenter:
    """The segmenter with a copy of its network whose batch normalization is folded where that is possible.

    A normalization is folded if its input is just what one convolution puts out, which a trial shows; where the result
    is not equal but for rounding, the segmenter is given back as it was. The network's digest stays: its weights are
    others, but not what they say.

    Args:
        segmenter: whose network is in evaluation mode.
        untouched: names of submodules whose own outputs somebody reads, such as layers that a defense taps.
    """
    network = copy.deepcopy(segmenter.network)
    image = torch.rand(1, 3, *segmenter.input_size, generator=torch.Generator().manual_seed(0)).to(segmenter.device)
    before = _logits(segmenter, image)
    for convolution, norm in _pairs(replace(segmenter, network=network), image):
        first, second = network.get_submodule(convolution), network.get_submodule(norm)
        if convolution not in untouched and isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            network.set_submodule(convolution, fuse_conv_bn_eval(first, second))
            network.set_submodule(norm, nn.Identity())
    for weights in network.parameters():
        weights.requires_grad_(False)
    folded = replace(segmenter, network=network)
    error = (_logits(folded, image) - before).abs().max()
    return folded if bool(error <= LARGEST_ERROR * before.abs().max()) else segmenter


@torch.no_grad()
def _logits(segmenter: Segmenter, image: Tensor) -> Tensor:
    return segmenter.logits(segmenter.normalize(image))


def _pairs(segmenter: Segmenter, image: Tensor) -> list[tuple[str, str]]:
    """Names of convolutions and of the normalizations that alone take what these put out."""
    made: dict[int, str] = {}
    runs: Counter[str] = Counter()
    found: list[tuple[str, str]] = []
    # What has been put out is kept until the end: another tensor must not get its address.
    kept: list[Tensor] = []

    def convolved(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            made[id(output)] = name
            runs[name] += 1
            kept.append(output)

        return hook

    def normalizes(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            runs[name] += 1
            if id(inputs[0]) in made:
                found.append((made[id(inputs[0])], name))

        return hook

    handles = []
    for name, module in segmenter.network.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(convolved(name)))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            handles.append(module.register_forward_pre_hook(normalizes(name)))
    try:
        _logits(segmenter, image)
    finally:
        for handle in handles:
            handle.remove()
    return [(convolution, norm) for convolution, norm in found if runs[convolution] == runs[norm] == 1]

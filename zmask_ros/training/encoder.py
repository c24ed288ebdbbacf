"""Layers of a network's encoder, found by the sizes of their maps: nobody has to name them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from zmask_ros.defense.evidence.grid import Size
from zmask_ros.defense.evidence.taps import Shape, feature_layers
from zmask_ros.errors import ZmaskError
from zmask_ros.segmenters import Segmenter

SLOTS = 4
"""Layers that a transferable head sees, shallow to deep."""
LEAST_SIDE, LEAST_CHANNELS = 8, 8
"""Of a layer that can be one of them."""
FINER, COARSER = 0.75, 1.5
"""A layer with less than this share of the height of those before it begins a new resolution; one with more than the
other share begins the decoder."""
PATH = 3.0
"""What holds a layer with so many times its own height is a path of several resolutions, and no block."""
ALL_LEVELS = 32
"""Below the network, down to which layers are looked for."""


def tappable_layers(segmenter: Segmenter, depth: int) -> dict[str, Shape]:
    """The layers that can be tapped, and their shapes; see `feature_layers`, also for ``depth``."""
    gray = torch.zeros(1, 3, *segmenter.input_size, device=segmenter.device)
    with torch.inference_mode():
        return feature_layers(segmenter.network, lambda: segmenter.logits(gray), depth)


def no_layer(segmenter: Segmenter) -> ZmaskError:
    """What is said of a network without any layer that the defense could look at."""
    return ZmaskError(
        f"Segmenter '{segmenter.name}' has no layer that could be tapped: one that runs once, of at least "
        f"{LEAST_CHANNELS} channels and {LEAST_SIDE} x {LEAST_SIDE} cells."
    )


def encoder_layers(segmenter: Segmenter) -> tuple[str, ...]:
    """`SLOTS` layers of the encoder, shallow to deep: the last one of each resolution.

    Of layers within layers the outermost count. Where there are fewer resolutions, the coarsest gives several layers,
    evenly spread: whole blocks, if the middle of one is met; where it gives one alone, that is not of class scores. In
    a network with fewer layers, some stand for more than one slot.

    Raises:
        ZmaskError: the network has no layer that could be tapped.
    """
    layers = tappable_layers(segmenter, ALL_LEVELS)
    blocks = _blocks(segmenter, layers)
    resolutions = _resolutions(segmenter, layers, blocks)
    if not resolutions:
        raise no_layer(segmenter)
    *finer, coarsest = resolutions[:SLOTS]
    missing = SLOTS - len(finer)
    if missing == 1:
        coarsest = _outermost(_without_scores(coarsest, layers))[-1:]
    else:
        coarsest = _spread(coarsest, missing, [block.name for block in blocks])
    return (*(_outermost(own)[-1] for own in finer), *coarsest)


def edge_layer(segmenter: Segmenter, grid: Size) -> str | None:
    """The layer that says where masks end: the first block of the encoder's finest resolution.

    What the following ones see of a patch reaches further beyond its edge. A block is a convolution with the norm and
    the activation that follow it, whether they are one module or several. None where there is no layer, or none that is
    finer than the working grid.
    """
    layers = tappable_layers(segmenter, ALL_LEVELS)
    finest = next(iter(_resolutions(segmenter, layers, _blocks(segmenter, layers))), [])
    if not finest or any(own <= cells for own, cells in zip(layers[finest[0]][1:], grid, strict=True)):
        return None
    first, *others = finest
    whole = next((name for name in others if _is_within(first, name)), None)
    if whole is not None and _convolutions(segmenter, whole) == 1:
        return whole
    following = itertools.takewhile(lambda name: not _convolutions(segmenter, name), others)
    return [first, *following][-1]


@dataclass(frozen=True)
class _Block:
    """A module of one resolution, however many those within it pass through.

    Attributes:
        name: of the module.
        height: of its output.
        within: the layers in it, in the order in which they are reached.
    """

    name: str
    height: int
    within: list[str]


def _blocks(segmenter: Segmenter, layers: dict[str, Shape]) -> list[_Block]:
    """All blocks, outer ones before those within them.

    What holds most of the layers of what it is in, follows one layer after the other, or goes through several
    resolutions, is no block but a path.
    """
    paths, found = [""], []
    for name, module in nn.Module.named_modules(segmenter.network, remove_duplicate=False):
        within = [layer for layer in layers if _is_within(layer, name)]
        if not name or not within or isinstance(module, (nn.ModuleList, nn.ModuleDict)):
            continue
        # One that puts out no map, such as a transformer's, is as large as the last one in it.
        height = layers.get(name, layers[within[-1]])[1]
        path = max((path for path in paths if _is_within(name, path)), key=len)
        around = [layer for layer in layers if layer != name and _is_within(layer, path)]
        most = len(within) > len(around) / 2
        if most or isinstance(module, nn.Sequential) or max(layers[layer][1] for layer in within) >= PATH * height:
            paths.append(name)
        else:
            found.append(_Block(name, height, within))
    return found


def _inner(segmenter: Segmenter, layers: dict[str, Shape], blocks: Sequence[_Block]) -> set[str]:
    """Layers of a resolution that a block only passes through: before it gets coarser, or pooled for a while."""
    names, found = list(layers), set()
    for block in blocks:
        first = names.index(block.within[0])
        before = layers[names[first - 1]][1] if first else segmenter.input_size[0]
        pooled = FINER * min(block.height, before)
        for name in block.within:
            own = layers[name][1]
            # What the image reaches first, a stem, is all that there is of the finest resolution.
            if own < pooled or (first and own > COARSER * block.height):
                found.add(name)
    return found


def _resolutions(segmenter: Segmenter, layers: dict[str, Shape], blocks: Sequence[_Block]) -> list[list[str]]:
    """The encoder's layers in the order in which they are reached, those of one resolution together."""
    inner = _inner(segmenter, layers, blocks)
    found: list[list[str]] = []
    current = 0
    for name, (channels, height, width) in layers.items():
        if min(height, width) < LEAST_SIDE or channels < LEAST_CHANNELS or name in inner:
            continue
        if not found or height < FINER * current:
            found.append([])
            current = height
        elif height > COARSER * current:
            break
        found[-1].append(name)
    return found


def _spread(names: list[str], count: int, blocks: Sequence[str]) -> list[str]:
    """So many of the layers, evenly over those of the fewest levels, or over all; the outermost block around each."""
    least = min(name.count(".") for name in names)
    shallowest = [name for name in names if name.count(".") == least]
    among = shallowest if len(shallowest) >= count else names
    picked = [among[math.ceil((number + 1) * len(among) / count) - 1] for number in range(count)]
    own = [block for block in blocks if block in names]
    return [next((block for block in own if _is_within(name, block)), name) for name in picked]


def _is_within(name: str, module: str) -> bool:
    """Whether a layer or a module is within a module; the network's own name is empty."""
    return not module or name.startswith(f"{module}.")


def _outermost(names: list[str]) -> list[str]:
    """Those that are within no other one."""
    return [name for name in names if not any(_is_within(name, other) for other in names)]


def _without_scores(names: list[str], layers: dict[str, Shape]) -> list[str]:
    """Those with another number of channels than the last layer, which scores the classes; all, if that leaves none."""
    *_, (scores, _, _) = layers.values()
    return [name for name in names if layers[name][0] != scores] or names


def _convolutions(segmenter: Segmenter, name: str) -> int:
    """How many convolutions lie within a layer, itself among them."""
    return sum(isinstance(own, nn.Conv2d) for own in segmenter.network.get_submodule(name).modules())

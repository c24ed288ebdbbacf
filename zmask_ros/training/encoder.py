"""Layers of a network's encoder, found by the sizes of their maps: nobody has to name them."""

from __future__ import annotations

import itertools
import math

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
ALL_LEVELS = 32
"""Below the network, down to which layers are looked for."""


def tappable_layers(segmenter: Segmenter, depth: int) -> dict[str, Shape]:
    """The layers that can be tapped, and their shapes; see `feature_layers`, also for ``depth``."""
    gray = torch.zeros(1, 3, *segmenter.input_size, device=segmenter.device)
    with torch.inference_mode():
        return feature_layers(segmenter.network, lambda: segmenter.logits(gray), depth)


def encoder_layers(segmenter: Segmenter) -> tuple[str, ...]:
    """`SLOTS` layers of the encoder, shallow to deep: the last one of each resolution.

    Of layers within layers the outermost count that are enough. Where there are fewer resolutions, the coarsest
    gives several layers, evenly spread; in a network with fewer layers, some stand for more than one slot.

    Raises:
        ZmaskError: the network has no layer that could be tapped.
    """
    resolutions = _resolutions(tappable_layers(segmenter, ALL_LEVELS))
    if not resolutions:
        raise ZmaskError(f"Segmenter '{segmenter.name}' has no layer that could be tapped: see `zmask segmenters`.")
    *finer, coarsest = resolutions[:SLOTS]
    missing = SLOTS - len(finer)
    coarsest = _outermost(coarsest, missing)
    spread = [coarsest[math.ceil((number + 1) * len(coarsest) / missing) - 1] for number in range(missing)]
    return (*(_outermost(own)[-1] for own in finer), *spread)


def edge_layer(segmenter: Segmenter, grid: Size) -> str | None:
    """The layer that says where masks end: the first block of the encoder's finest resolution.

    What the following ones see of a patch reaches further beyond its edge. A block is a convolution with the norm and
    the activation that follow it, whether they are one module or several. None where there is no layer, or none that is
    finer than the working grid.
    """
    layers = tappable_layers(segmenter, ALL_LEVELS)
    finest = next(iter(_resolutions(layers)), [])
    if not finest or any(own <= cells for own, cells in zip(layers[finest[0]][1:], grid, strict=True)):
        return None
    first, *others = finest
    whole = next((name for name in others if first.startswith(f"{name}.")), None)
    if whole is not None and _convolutions(segmenter, whole) == 1:
        return whole
    following = itertools.takewhile(lambda name: not _convolutions(segmenter, name), others)
    return [first, *following][-1]


def _resolutions(layers: dict[str, Shape]) -> list[list[str]]:
    """The encoder's layers in the order in which they are reached, those of one resolution together."""
    found: list[list[str]] = []
    current = 0
    for name, (channels, height, width) in layers.items():
        if min(height, width) < LEAST_SIDE or channels < LEAST_CHANNELS:
            continue
        if not found or height < FINER * current:
            found.append([])
            current = height
        elif height > COARSER * current:
            break
        found[-1].append(name)
    return found


def _outermost(names: list[str], enough: int = 1) -> list[str]:
    """Those that lie the fewest levels below the network, and so many levels of them that they are enough."""
    for levels in sorted({name.count(".") for name in names}):
        found = [name for name in names if name.count(".") <= levels]
        if len(found) >= enough:
            return found
    return names


def _convolutions(segmenter: Segmenter, name: str) -> int:
    """How many convolutions lie within a layer, itself among them."""
    return sum(isinstance(own, nn.Conv2d) for own in segmenter.network.get_submodule(name).modules())

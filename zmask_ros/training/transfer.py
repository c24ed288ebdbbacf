"""The head that needs no training: one that was trained on other networks, brought to this one.

It sees channel-agnostic descriptors of four layers, from the finest resolution of the network's encoder to the
coarsest that still says where something is; see `defense.evidence.descriptors`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.evidence.grid import Size
from zmask_ros.defense.evidence.head import WEIGHTS, Head
from zmask_ros.defense.evidence.overactivation import Branch
from zmask_ros.defense.evidence.taps import Shape, feature_layers
from zmask_ros.errors import ZmaskError
from zmask_ros.resources import find_resource
from zmask_ros.segmenters import Segmenter

HEAD_FILE = "models/transferable_head.safetensors"
SLOTS = 4
"""Layers that a transferable head sees, shallow to deep."""
KERNEL_SHARE = 0.11
"""Of the image's height and width: the kernel of its pooled z-scores."""
LEAST_SIDE, LEAST_CHANNELS = 8, 8
"""Of a layer that can be one of them."""
FINER, COARSER = 0.75, 1.5
"""A layer with less than this share of the height of those before it begins a new resolution; one with more than the
other share begins the decoder."""
ALL_LEVELS = 32
"""Below the network, down to which layers are looked for."""


@dataclass(frozen=True)
class TransferableHead:
    """A head that belongs to no network.

    Attributes:
        weights: by name, see `Head`.
        opening: float [8], scalars of the fusion block that opens where it is to be masked.
    """

    weights: dict[str, Tensor]
    opening: Tensor

    def head(self, layers: tuple[str, ...], kernel: Size) -> Head:
        """The head of a network with these layers."""
        return Head(Branch(layers, (kernel,)), FeatureKind.DESCRIPTORS, **self.weights)


def load_transferable_head(path: Path | None = None) -> TransferableHead:
    """The head in the file ``path``; None: the one that comes with the package.

    Raises:
        ZmaskError: the package's is missing.
    """
    with safe_open(path or find_resource(HEAD_FILE), framework="pt") as file:
        return TransferableHead({name: file.get_tensor(name) for name in WEIGHTS}, file.get_tensor("opening"))


def save_transferable_head(own: TransferableHead, path: Path) -> None:
    """Write ``own`` to a file of the package."""
    save_file({name: tensor.contiguous() for name, tensor in (own.weights | {"opening": own.opening}).items()}, path)


def encoder_layers(segmenter: Segmenter) -> tuple[str, ...]:
    """`SLOTS` layers of the encoder, shallow to deep: the last one of each resolution.

    Of layers within layers the outermost count, if they are enough. Where there are fewer resolutions, the coarsest
    gives several layers, evenly spread; in a network with fewer layers, some stand for more than one slot.

    Raises:
        ZmaskError: the network has no layer that could be tapped.
    """
    gray = torch.zeros(1, 3, *segmenter.input_size, device=segmenter.device)
    with torch.inference_mode():
        layers = feature_layers(segmenter.network, lambda: segmenter.logits(gray), ALL_LEVELS)
    resolutions = _resolutions(layers)
    if not resolutions:
        raise ZmaskError(f"Segmenter '{segmenter.name}' has no layer that could be tapped: see `zmask segmenters`.")
    *finer, coarsest = resolutions[:SLOTS]
    missing = SLOTS - len(finer)
    outermost = _outermost(coarsest)
    coarsest = outermost if len(outermost) >= missing else coarsest
    spread = [coarsest[math.ceil((number + 1) * len(coarsest) / missing) - 1] for number in range(missing)]
    return (*(_outermost(own)[-1] for own in finer), *spread)


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


def _outermost(names: list[str]) -> list[str]:
    """Those that lie the fewest levels below the network."""
    least = min(name.count(".") for name in names)
    return [name for name in names if name.count(".") == least]

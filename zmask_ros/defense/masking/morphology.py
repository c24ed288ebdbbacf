"""Binary morphology of cells, bool [B, 1, h, w]: connected components, dilation, closing and opening, by OpenCV.

On CUDA these small maps go to the host and back. Growing them step by step on the device would ask the device after
every few steps whether anything still grows.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

from zmask_ros.defense.evidence.grid import Size


def connected_to(seeds: Tensor, candidates: Tensor) -> Tensor:
    """The 8-connected components of ``candidates`` that contain a seed; all bool [B, 1, h, w]."""
    return per_image(components_with, seeds, candidates)


def components_with(seeds: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The 8-connected components of ``candidates`` that contain a seed, of one image; all uint8 [h, w], 0 or 1."""
    count, labels = label_components(candidates)
    hit = np.zeros(count, np.uint8)
    hit[labels[seeds.view(bool)]] = 1
    hit[0] = 0
    return hit[labels]


def label_components(region: np.ndarray) -> tuple[int, np.ndarray]:
    """Number the 8-connected components of one image.

    Args:
        region: uint8 [h, w], 0 or 1.

    Returns:
        How many numbers there are, 0 among them, and the number of each cell, int32 [h, w]: 0 outside of the region,
        from 1 in its components.
    """
    return cv2.connectedComponents(region, connectivity=8)


def binary_dilation(cells: Tensor, kernel: Size) -> Tensor:
    """All cells with one of bool [B, 1, h, w] in the ``kernel`` window centered on them; odd height and width."""
    window = np.ones(kernel, np.uint8)
    return per_image(lambda image: cv2.dilate(image, window), cells)


def binary_closing(cells: Tensor, kernel: Size) -> Tensor:
    """Closing of bool [B, 1, h, w]: gaps that no ``kernel`` window fits into are filled; odd height and width."""
    window = np.ones(kernel, np.uint8)
    return per_image(lambda image: cv2.morphologyEx(image, cv2.MORPH_CLOSE, window), cells)


def binary_opening(cells: Tensor, kernel: Size) -> Tensor:
    """Opening of bool [B, 1, h, w]: cells that no ``kernel`` window fits around are dropped; odd height and width."""
    window = np.ones(kernel, np.uint8)
    return per_image(lambda image: cv2.morphologyEx(image, cv2.MORPH_OPEN, window), cells)


def per_image(operation: Callable[..., np.ndarray], *maps: Tensor) -> Tensor:
    """Apply an operation on the host to each image of a batch.

    Args:
        operation: takes a uint8 [h, w] of each of ``maps``, and returns uint8 or bool, [h, w] or [C, h, w].
        maps: bool [B, 1, h, w] each.

    Returns:
        Bool [B, 1 or C, h, w], on the device of the first map.
    """
    images = zip(*(_on_host(cells)[:, 0] for cells in maps), strict=True)
    changed = np.stack([operation(*image) for image in images]).view(bool)
    return torch.from_numpy(changed.reshape(len(changed), -1, *changed.shape[-2:])).to(maps[0].device)


def _on_host(cells: Tensor) -> np.ndarray:
    return cells.detach().contiguous().view(torch.uint8).cpu().numpy()

"""Sets of cells, bool [B, 1, h, w]: what hangs together, and what grows and shrinks. By OpenCV.

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


def connected(seeds: Tensor, candidates: Tensor) -> Tensor:
    """The candidates that hang together with a seed, 8-connected; all bool [B, 1, h, w]."""
    return each(reached, seeds, candidates)


def reached(seeds: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """`connected` of one image: uint8 [h, w] each."""
    count, parts = parts_of(candidates)
    hit = np.zeros(count, np.uint8)
    hit[parts[seeds.view(bool)]] = 1
    hit[0] = 0
    return hit[parts]


def parts_of(region: np.ndarray) -> tuple[int, np.ndarray]:
    """A number for each 8-connected part of uint8 [h, w], from 1 and the same for all of its cells, int32; 0 outside.

    With it how many numbers there are, 0 among them.
    """
    return cv2.connectedComponents(region, connectivity=8)


def widened(cells: Tensor, kernel: Size) -> Tensor:
    """All cells in whose window ``kernel`` there is one of bool [B, 1, h, w]; odd height and width."""
    window = np.ones(kernel, np.uint8)
    return each(lambda own: cv2.dilate(own, window), cells)


def closed(cells: Tensor, kernel: Size) -> Tensor:
    """Morphological closing of bool [B, 1, h, w]: gaps that no window of ``kernel`` fits into are filled."""
    window = np.ones(kernel, np.uint8)
    return each(lambda own: cv2.morphologyEx(own, cv2.MORPH_CLOSE, window), cells)


def opened(cells: Tensor, kernel: Size) -> Tensor:
    """Morphological opening of bool [B, 1, h, w]: what no window of ``kernel`` fits into is dropped."""
    window = np.ones(kernel, np.uint8)
    return each(lambda own: cv2.morphologyEx(own, cv2.MORPH_OPEN, window), cells)


def each(change: Callable[..., np.ndarray], *sets: Tensor) -> Tensor:
    """``change`` of the uint8 [h, w] of each image, uint8 or bool [h, w] or [C, h, w], as bool [B, 1 or C, h, w]."""
    images = zip(*(_on_host(cells)[:, 0] for cells in sets), strict=True)
    changed = np.stack([change(*image) for image in images]).view(bool)
    return torch.from_numpy(changed.reshape(len(changed), -1, *changed.shape[-2:])).to(sets[0].device)


def _on_host(cells: Tensor) -> np.ndarray:
    return cells.detach().contiguous().view(torch.uint8).cpu().numpy()

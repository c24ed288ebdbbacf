"""What hangs together: OpenCV's connected components, of the small maps of a working grid.

On CUDA a map goes to the host and back once. Growing it step by step on the device would ask the device after every few
steps whether anything still grows.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def connected(seeds: Tensor, candidates: Tensor) -> Tensor:
    """The candidates that hang together with a seed, 8-connected; all bool [B, 1, h, w]."""
    images = zip(_on_host(seeds)[:, 0], _on_host(candidates)[:, 0], strict=True)
    reached = np.stack([_connected(*image) for image in images])
    return torch.from_numpy(reached)[:, None].to(candidates.device)


def _connected(seeds: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    count, parts = _parts(candidates)
    reached = np.zeros(count, bool)
    reached[parts[seeds]] = True
    reached[0] = False
    return reached[parts]


def numbered(region: Tensor) -> Tensor:
    """A number for each 8-connected part of bool [h, w], from 1 and the same for all of its cells; 0 outside."""
    return torch.from_numpy(_parts(_on_host(region))[1]).long().to(region.device)


def _parts(region: np.ndarray) -> tuple[int, np.ndarray]:
    """How many numbers there are, 0 for what is outside among them, and that of each cell of bool [h, w]."""
    return cv2.connectedComponents(region.view(np.uint8), connectivity=8)


def _on_host(region: Tensor) -> np.ndarray:
    return region.detach().cpu().contiguous().numpy()

"""Smooth random fields, from which asphalt, plaster, clouds and foliage are made."""

from __future__ import annotations

import cv2
import numpy as np


def fractal(rng: np.random.Generator, height: int, width: int, cells: tuple[int, int], octaves: int = 4) -> np.ndarray:
    """Sum of smooth noises, each twice as fine and half as strong as the last.

    Args:
        rng: source of randomness.
        height: rows of the field, px.
        width: columns of the field, px.
        cells: (down, across) cells of the coarsest noise, each >= 1.
        octaves: number of noises summed, >= 1.

    Returns:
        float32 [height, width], mean about 0, standard deviation about 1.
    """
    field = np.zeros((height, width), np.float32)
    down, across = cells
    for octave in range(octaves):
        grid = rng.standard_normal((min(down, height) + 1, min(across, width) + 1), dtype=np.float32)
        field += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.5**octave
        down, across = 2 * down, 2 * across
    return (field - field.mean()) / (field.std() + 1e-6)


def speckle(rng: np.random.Generator, height: int, width: int, tile: int = 256) -> np.ndarray:
    """Fine grain, float32 [height, width] of unit deviation, tiled from a square of at most `tile` px."""
    base = rng.standard_normal((min(tile, height), min(tile, width)), dtype=np.float32)
    repeats = -(-height // base.shape[0]), -(-width // base.shape[1])
    return np.tile(base, repeats)[:height, :width]


def to_bytes(image: np.ndarray) -> np.ndarray:
    """The image rounded and clipped to uint8."""
    return cv2.add(image, np.zeros(4), dtype=cv2.CV_8U).reshape(image.shape)

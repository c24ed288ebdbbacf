"""Tree crowns, hedges, and what closes the street far away: trees or houses; all RGB."""

from __future__ import annotations

import cv2
import numpy as np

from zmask_ros.data.textures.noise import fractal, to_bytes

_GREENS = ((74, 104, 46), (60, 92, 50), (96, 116, 50), (52, 78, 44), (112, 112, 52), (134, 104, 44))


def _blobs(rng: np.random.Generator, shape: str, count: int) -> np.ndarray:
    """Centres in the unit square, float [count, 2], of a crown's leaf clusters."""
    angle, radius = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    if shape == "cone":
        y = rng.uniform(-1, 1, count)
        x = rng.uniform(-1, 1, count) * (y + 1.15) / 2.15
    if shape == "column":
        x = x * 0.55
    return np.column_stack([0.5 + 0.43 * x, 0.5 + 0.43 * y])


def crown(rng: np.random.Generator, sun_side: float) -> tuple[np.ndarray, np.ndarray]:
    """A tree's crown, color uint8 [256, 256, 3] and alpha uint8 [256, 256]; lit from above and `sun_side` (-1..1)."""
    size = 256
    base = np.array(_GREENS[rng.integers(len(_GREENS))], np.float32) + rng.uniform(-8, 8, 3)
    color = np.tile(base * 0.55, (size, size, 1)).astype(np.float32)
    alpha = np.zeros((size, size), np.uint8)
    shape = str(rng.choice(["round", "round", "cone", "column"]))
    lumps = _blobs(rng, shape, 22)
    for x, y in lumps:
        cv2.circle(alpha, (int(x * size), int(y * size)), int(rng.uniform(0.07, 0.12) * size), 255, -1)
    for depth in np.sort(rng.uniform(0, 1, 1500)):
        lump = lumps[rng.integers(len(lumps))]
        offset = rng.normal(0, 0.055, 2)
        x, y = lump + offset
        light = 0.55 + 0.4 * depth - 2.2 * offset[1] - 1.6 * offset[0] * sun_side
        light += 0.35 * (0.5 - y) + 0.2 * (0.5 - x) * sun_side + rng.normal(0, 0.1)
        center = int(x * size), int(y * size)
        axes = int(rng.integers(2, 6)), int(rng.integers(2, 5))
        leaf = [float(c) for c in base * np.clip(light, 0.3, 1.5)]
        cv2.ellipse(color, center, axes, float(rng.uniform(0, 180)), 0, 360, leaf, -1)
        cv2.ellipse(alpha, center, axes, 0, 0, 360, 255, -1)
    for _ in range(int(rng.integers(4, 16))):
        x, y = _blobs(rng, shape, 1)[0] * size
        cv2.circle(alpha, (int(x), int(y)), int(rng.integers(2, 5)), 0, -1)
    return to_bytes(color), alpha


def hedge(rng: np.random.Generator, width: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """A hedge's front with a ragged top, of so many metres, 24 texels a metre: color uint8 [h, w, 3], alpha [h, w]."""
    rows, columns = int(height * 24), int(width * 24)
    base = np.array(_GREENS[rng.integers(4)], np.float32) * 0.8
    leaves = 1 + 0.3 * fractal(rng, rows, columns, (rows // 6, columns // 6), 3)
    color = base * (leaves * np.linspace(1.2, 0.7, rows, dtype=np.float32)[:, None])[..., None]
    top = (fractal(rng, 1, columns, (1, max(2, columns // 16)), 3)[0] + 2) * rows * 0.03
    alpha = np.where(np.arange(rows)[:, None] >= top, 255, 0).astype(np.uint8)
    return to_bytes(color), alpha


def treeline(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The end of the street as far trees: color uint8 [128, 768, 3] and alpha uint8 [128, 768]."""
    rows, columns = 128, 768
    base = np.array(_GREENS[rng.integers(4)], np.float32) * 0.85
    color = base * (1 + 0.22 * fractal(rng, rows, columns, (12, 72), 3))[..., None]
    top = rows * (0.4 + 0.1 * fractal(rng, 1, columns, (1, 14), 5)[0])
    alpha = np.where(np.arange(rows)[:, None] >= top, 255, 0).astype(np.uint8)
    return to_bytes(color), alpha


def skyline(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The end of the street as far houses: color uint8 [160, 768, 3] and alpha uint8 [160, 768]."""
    rows, columns = 160, 768
    color = np.full((rows, columns, 3), 150, np.uint8)
    alpha = np.zeros((rows, columns), np.uint8)
    left = 0
    while left < columns:
        width, height = int(rng.integers(30, 90)), int(rng.uniform(0.35, 0.95) * rows)
        tone = rng.uniform(110, 190) * np.array([1.0, 0.96, 0.9]) * rng.uniform(0.93, 1.05, 3)
        cv2.rectangle(color, (left, rows - height), (left + width, rows), [float(c) for c in tone], -1)
        cv2.rectangle(alpha, (left, rows - height), (left + width, rows), 255, -1)
        for top in range(rows - height + 6, rows, 12):
            for x in range(left + 4, left + width - 5, 10):
                cv2.rectangle(color, (x, top), (x + 4, top + 6), [float(c) for c in tone * 0.6], -1)
        left += width
    return color, alpha

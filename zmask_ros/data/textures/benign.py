"""Benign pictures of a patch's size, which attack nothing: the defense is trained not to flag them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice

import cv2
import numpy as np

from zmask_ros.data.textures.adverts import advert
from zmask_ros.data.textures.foliage import hedge

Maker = Callable[[np.random.Generator, tuple[int, int], np.ndarray], np.ndarray]
"""Makes a picture uint8 [*size, 3] from a random generator, the size (height, width) and an image uint8 [H, W, 3]."""
NATURAL_SHARE = 0.5
"""Height of a piece of an image, as a share of the image's."""


def benign_pictures(count: int, size: tuple[int, int], images: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """``count`` benign pictures, uint8 [*size, 3] RGB, of all `KINDS` in turn.

    Args:
        count: how many.
        size: height and width in pixels.
        images: uint8 [H, W, 3] each, of which pieces are taken; at least one.
        seed: of every random choice.
    """
    rng = np.random.default_rng(seed)
    return [make(rng, size, images[int(rng.integers(len(images)))]) for make in islice(cycle(KINDS.values()), count)]


def in_other_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image, uint8 [H, W, 3] RGB, with another exposure, gamma and white balance, sometimes blurred or noisy."""
    light: np.ndarray = (image / 255.0) ** rng.uniform(0.6, 1.8) * rng.uniform(0.3, 1.2) * rng.uniform(0.9, 1.1, 3)
    if rng.random() < 0.3:
        light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.5, 2.0))
    if rng.random() < 0.3:
        light = light + rng.normal(0, rng.uniform(0.005, 0.03), image.shape)
    return np.asarray(np.clip(light * 255.0, 0, 255).round().astype(np.uint8))


def _noise(rng: np.random.Generator, size: tuple[int, int], natural: np.ndarray) -> np.ndarray:
    """Independent colors in squares of one to eight pixels."""
    cell = 2 ** int(rng.integers(0, 4))
    small = rng.integers(0, 256, (-(-size[0] // cell), -(-size[1] // cell), 3), dtype=np.uint8)
    return np.ascontiguousarray(small.repeat(cell, 0).repeat(cell, 1)[: size[0], : size[1]])


def _natural(rng: np.random.Generator, size: tuple[int, int], natural: np.ndarray) -> np.ndarray:
    """A piece of an image, half as high as the image."""
    height = max(1, int(NATURAL_SHARE * natural.shape[0]))
    width = max(1, min(natural.shape[1], height * size[1] // size[0]))
    top, left = (int(rng.integers(0, n - m + 1)) for n, m in zip(natural.shape, (height, width), strict=False))
    piece = natural[top : top + height, left : left + width]
    return np.asarray(cv2.resize(piece, (size[1], size[0]), interpolation=cv2.INTER_AREA))


def _checkerboard(rng: np.random.Generator, size: tuple[int, int], natural: np.ndarray) -> np.ndarray:
    field = int(rng.integers(4, max(5, size[0] // 4)))
    rows, columns = np.indices(size) // field
    return _two_colors(rng, (rows + columns) % 2 == 0)


def _stripes(rng: np.random.Generator, size: tuple[int, int], natural: np.ndarray) -> np.ndarray:
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, max(8, size[0] / 3))
    rows, columns = np.indices(size)
    return _two_colors(rng, np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * 2 * np.pi / period) > 0)


def _foliage(rng: np.random.Generator, size: tuple[int, int], natural: np.ndarray) -> np.ndarray:
    color, _ = hedge(rng, 8.0 * size[1] / size[0], 8.0)
    return np.asarray(cv2.resize(color, (size[1], size[0]), interpolation=cv2.INTER_AREA))


def _poster(rng: np.random.Generator, size: tuple[int, int], natural: np.ndarray) -> np.ndarray:
    return advert(rng, size[1], size[0])


def _two_colors(rng: np.random.Generator, first: np.ndarray) -> np.ndarray:
    colors = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    if rng.random() < 0.5:
        colors = rng.integers(0, 256, (2, 3), dtype=np.uint8)
    return np.where(first[..., None], colors[0], colors[1]).astype(np.uint8)


KINDS: dict[str, Maker] = {
    "noise": _noise,
    "natural": _natural,
    "checkerboard": _checkerboard,
    "stripes": _stripes,
    "foliage": _foliage,
    "poster": _poster,
}

"""Benign-hard sets: what a camera may see without any attack, made from clean frames by seeded transformations.

Weather and camera faults change the whole frame. Boards put a benign but conspicuous picture into it. Each set is a
function of the frames, in their order, and of a seed; its frames keep the labels outside of the boards. The boards are
not those of `data.textures.benign`, because the fusion block is trained on those.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import cv2
import numpy as np

from zmask_ros.data.textures.adverts import advert
from zmask_ros.data.textures.foliage import hedge
from zmask_ros.io.images.codec import decode, encode_compressed

JPEG_QUALITY = 8
BOARD_SHARES = (0.25, 0.45)
"""Side of a board as a share of the image's height."""
Board = Callable[[int, np.random.Generator, Sequence[np.ndarray]], np.ndarray]


def night(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Little light: dark, bluish, noisy, with a cone of headlights."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    cone = np.exp(-(((x - 0.5) / 0.35) ** 2) - ((y - 0.8) / 0.25) ** 2)
    light = 0.2 + 0.5 * cone * rng.uniform(0.7, 1.0)
    dark = (image / 255.0) ** 1.3 * light[..., None] * np.array([0.85, 0.9, 1.1])
    return _bytes(dark * 255 + rng.normal(0, 6, image.shape))


def rain(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Streaks, less contrast, and a few drops on the lens."""
    height, width = image.shape[:2]
    streaks = np.zeros((height, width), np.uint8)
    slant = rng.uniform(-0.3, 0.3)
    for x, y in rng.uniform((-0.1, -0.1), (1.1, 1.0), (height * width // 400, 2)) * (width, height):
        length = rng.uniform(0.02, 0.06) * height
        cv2.line(streaks, (int(x), int(y)), (int(x + slant * length), int(y + length)), int(rng.integers(60, 200)), 1)
    gray = 0.75 * image + 0.25 * image.mean() + cv2.GaussianBlur(streaks, (3, 3), 0.7)[..., None] * 0.5
    wet = _bytes(gray)
    blurred = cv2.GaussianBlur(wet, (0, 0), max(1.0, height / 60))
    for x, y in rng.uniform(0, 1, (6, 2)) * (width, height):
        drop = np.zeros((height, width), np.uint8)
        cv2.circle(drop, (int(x), int(y)), max(2, int(rng.uniform(0.02, 0.05) * height)), 255, -1)
        cv2.copyTo(blurred, drop, wet)
    return wet


def glare(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A low sun: a saturated disc, a veil around it and a flare across."""
    height, width = image.shape[:2]
    center = rng.uniform((0.2, 0.05), (0.8, 0.35)) * (width, height)
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - center[0], y - center[1]) / height
    veil = 230 * np.exp(-((distance / 0.22) ** 2)) + 120 * np.exp(-distance / 0.35)
    line = 60 * np.exp(-(((y - center[1]) / (0.01 * height)) ** 2))
    return _bytes(image * 0.9 + (veil + line)[..., None] * np.array([1.0, 0.97, 0.88]))


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Motion blur in a random direction."""
    length = max(3, round(rng.uniform(0.02, 0.04) * image.shape[0]) // 2 * 2 + 1)
    kernel = np.zeros((length, length), np.float32)
    turn = rng.uniform(0, np.pi)
    reach = length // 2 * np.array([np.cos(turn), np.sin(turn)])
    start, end = (tuple(int(v) for v in (length // 2 + sign * reach).round()) for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0, 1)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE))


def heavy_jpeg(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """JPEG of a quality far below that of any camera in use."""
    return decode(SimpleNamespace(format="jpeg", data=encode_compressed(image, "jpeg", JPEG_QUALITY)))


def black(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A covered camera: black but for the sensor's noise."""
    return _bytes(np.abs(rng.normal(0, 1.5, image.shape)))


def checkerboard(side: int, rng: np.random.Generator, others: Sequence[np.ndarray]) -> np.ndarray:
    """A black and white checkerboard of 4 to 12 fields a side."""
    fields = int(rng.integers(4, 13))
    index = np.arange(side) * fields // side
    return np.repeat(((index[:, None] + index) % 2 * 255)[..., None], 3, 2).astype(np.uint8)


def natural_image(side: int, rng: np.random.Generator, others: Sequence[np.ndarray]) -> np.ndarray:
    """A square cut out of another scene."""
    other = others[int(rng.integers(len(others)))]
    size = int(rng.uniform(0.4, 0.9) * min(other.shape[:2]))
    top, left = (int(rng.integers(length - size + 1)) for length in other.shape[:2])
    return np.asarray(cv2.resize(other[top : top + size, left : left + size], (side, side)))


CHANGES = {"night": night, "rain": rain, "glare": glare, "blur": blur, "heavy JPEG": heavy_jpeg, "black camera": black}
BOARDS: dict[str, Board] = {
    "checkerboard": checkerboard,
    "poster": lambda side, rng, others: advert(rng, side, side),
    # The face of a hedge, close by.
    "foliage": lambda side, rng, others: cv2.resize(hedge(rng, 4.0, 4.0)[0], (side, side)),
    # Independent random pixels, as an attack starts from.
    "random patch": lambda side, rng, others: rng.integers(0, 256, (side, side, 3), dtype=np.uint8),
    "natural patch": natural_image,
}
FROZEN = "frozen camera"
HARD_SETS = (*CHANGES, *BOARDS, FROZEN)


def hard_frame(
    name: str, images: Sequence[np.ndarray], index: int, seed: int, others: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Frame ``index`` of the set ``name``, one of `HARD_SETS`; equal arguments give equal frames.

    Args:
        images: The clean frames, uint8 [H, W, 3] RGB.
        seed: Seed of all that is random, >= 0.
        others: Scenes that natural patches are cut from; none of ``images``.

    Returns:
        The image, uint8 [H, W, 3] RGB, and the pixels of the board, bool [H, W], which have no labels any more.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), index])
    image = images[0 if name == FROZEN else index].copy()
    height, width = image.shape[:2]
    where = np.zeros((height, width), bool)
    if name in CHANGES:
        image = CHANGES[name](image, rng)
    if name in BOARDS:
        side = min(width, round(rng.uniform(*BOARD_SHARES) * height))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        place = np.s_[top : top + side, left : left + side]
        image[place], where[place] = BOARDS[name](side, rng, others), True
    return image, where


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(image, 0, 255).round().astype(np.uint8)

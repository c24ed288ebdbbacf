"""Advertisements, for billboards and trucks that carry no other picture."""

from __future__ import annotations

import cv2
import numpy as np

from zmask_ros.data.textures.noise import fractal, to_bytes

_WORDS = ("FRESH", "COFFEE", "SALE", "RADIO", "TRAVEL", "HOTEL", "BREAD", "MARKET", "SUMMER", "CINEMA", "GARDEN", "TEA")
_FONTS = (cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SIMPLEX)


def _color(rng: np.random.Generator) -> list[float]:
    hue = np.array([[[rng.integers(180), rng.integers(90, 240), rng.integers(120, 255)]]], np.uint8)
    return [float(c) for c in cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0]]


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    first, second = np.array(_color(rng)), np.array(_color(rng))
    direction = rng.uniform(-1, 1, 2)
    y, x = np.mgrid[:height, :width] / max(height, width)
    share = x * direction[0] + y * direction[1]
    share = (share - share.min()) / (np.ptp(share) + 1e-6)
    if rng.random() < 0.3:
        share = np.clip(0.5 + 0.25 * fractal(rng, height, width, (3, 5), 3), 0, 1)
    return to_bytes(first * (1 - share[..., None]) + second * share[..., None])


def _bottle(image: np.ndarray, x: int, y: int, size: int, color: list[float]) -> None:
    half = size // 6
    cv2.rectangle(image, (x - half, y - size // 5), (x + half, y + size // 2), color, -1)
    cv2.rectangle(image, (x - half // 3, y - size // 2), (x + half // 3, y - size // 5), color, -1)
    cv2.rectangle(image, (x - half, y), (x + half, y + size // 4), (245, 240, 225), -1)


def _cup(image: np.ndarray, x: int, y: int, size: int, color: list[float]) -> None:
    half = size // 3
    cv2.ellipse(image, (x + half, y), (half // 2, half // 2), 0, 0, 360, color, max(2, size // 18))
    shape = [(x - half, y - half), (x + half, y - half), (x + half * 2 // 3, y + half), (x - half * 2 // 3, y + half)]
    cv2.fillConvexPoly(image, np.array(shape), color)
    cv2.ellipse(image, (x, y - half), (half, half // 4), 0, 0, 360, (70, 42, 26), -1)


def _sun(image: np.ndarray, x: int, y: int, size: int, color: list[float]) -> None:
    for angle in np.arange(0, 2 * np.pi, np.pi / 6):
        tip = int(x + 0.5 * size * np.cos(angle)), int(y + 0.5 * size * np.sin(angle))
        cv2.line(image, (x, y), tip, color, max(2, size // 20))
    cv2.circle(image, (x, y), size // 3, (250, 220, 90), -1)


def _fruit(image: np.ndarray, x: int, y: int, size: int, color: list[float]) -> None:
    for dx, dy in ((-0.2, 0.1), (0.2, 0.1), (0.0, -0.2)):
        center = int(x + dx * size), int(y + dy * size)
        cv2.circle(image, center, size // 4, color, -1)
        cv2.circle(image, (center[0] - size // 12, center[1] - size // 12), size // 14, (255, 255, 255), -1)
    cv2.ellipse(image, (x, y - size // 2), (size // 5, size // 12), -25, 0, 360, (60, 130, 50), -1)


def _phone(image: np.ndarray, x: int, y: int, size: int, color: list[float]) -> None:
    cv2.rectangle(image, (x - size // 4, y - size // 2), (x + size // 4, y + size // 2), (24, 24, 28), -1)
    cv2.rectangle(image, (x - size // 5, y - size * 2 // 5), (x + size // 5, y + size * 2 // 5), color, -1)
    cv2.circle(image, (x, y), size // 9, (255, 255, 255), -1)


_PRODUCTS = (_bottle, _cup, _sun, _fruit, _phone)


def _text(rng: np.random.Generator, image: np.ndarray, x: int, y: int, width: int, ink: tuple[float, ...]) -> None:
    word, font = _WORDS[rng.integers(len(_WORDS))], int(_FONTS[rng.integers(len(_FONTS))])
    (length, _), _ = cv2.getTextSize(word, font, 1.0, 2)
    scale = width / length
    cv2.putText(image, word, (x, y), font, scale, ink, max(2, int(2.2 * scale)), cv2.LINE_AA)


def advert(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A random advertisement, uint8 [height, width, 3] RGB; sizes in pixels."""
    image = _background(rng, height, width)
    ink = (250.0, 248.0, 240.0) if image.mean() < 140 else (28.0, 28.0, 34.0)
    if rng.random() < 0.5:
        cv2.circle(image, (int(rng.uniform(0, width)), int(rng.uniform(0, height))), height // 2, _color(rng), -1)
    if rng.random() < 0.4:
        top = int(rng.uniform(0.6, 0.8) * height)
        cv2.rectangle(image, (0, top), (width, height), _color(rng), -1)
    wide = width > 1.4 * height
    product = _PRODUCTS[rng.integers(len(_PRODUCTS))]
    at = (int(width * 0.78), height // 2) if wide else (width // 2, int(height * 0.66))
    product(image, *at, int(0.7 * height if wide else 0.5 * height), _color(rng))
    text_width = int(width * (0.5 if wide else 0.8))
    _text(rng, image, int(0.07 * width), int((0.45 if wide else 0.26) * height), text_width, ink)
    for line in range(int(rng.integers(1, 4))):
        y = int(height * ((0.6 if wide else 0.32) + 0.09 * line))
        length = int(text_width * rng.uniform(0.4, 1.0))
        cv2.line(image, (int(0.07 * width), y), (int(0.07 * width) + length, y), ink, max(2, height // 40))
    cv2.rectangle(image, (0, 0), (width - 1, height - 1), (232, 230, 224), max(2, height // 50))
    return image

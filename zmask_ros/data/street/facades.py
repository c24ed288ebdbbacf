"""Facades, walls, roofs and fences as flat textures; lengths are in metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from zmask_ros.data.textures.noise import fractal, speckle, to_bytes

TEXELS = 28
"""Texture pixels a metre."""
_PLASTER = (
    (226, 212, 184),
    (212, 186, 140),
    (214, 170, 148),
    (190, 202, 208),
    (206, 206, 200),
    (232, 228, 218),
    (198, 176, 160),
    (182, 190, 170),
)
_BRICK = ((150, 84, 66), (166, 104, 80), (128, 78, 64), (176, 128, 98), (142, 110, 92))
_CONCRETE = ((168, 166, 160), (150, 152, 154), (186, 180, 170))
_PAINT = (
    (38, 84, 66),
    (120, 34, 38),
    (34, 58, 104),
    (60, 60, 64),
    (128, 88, 44),
    (208, 168, 60),
    (30, 110, 130),
)


@dataclass(frozen=True)
class Windows:
    """A house's windows.

    Attributes:
        width, height: of each window, metres.
        pitch: distance between two windows' middles, at least, metres.
        frame: color of the frames, RGB.
        balcony: whether every other window has one.
        rail: color of the balconies, RGB.
        lamps: whether some rooms are lit.
    """

    width: float
    height: float
    pitch: float
    frame: tuple[int, int, int]
    balcony: bool
    rail: np.ndarray
    lamps: bool


def _rectangle(
    image: np.ndarray, x: float, y: float, width: float, height: float, color: Sequence[float] | np.ndarray
) -> None:
    """Fill a rectangle that is given in metres from the left and top edge."""
    start = round(x * TEXELS), round(y * TEXELS)
    end = round((x + width) * TEXELS) - 1, round((y + height) * TEXELS) - 1
    cv2.rectangle(image, start, end, [float(c) for c in color], -1)


def _wall(rng: np.random.Generator, width: float, height: float, material: str) -> np.ndarray:
    rows, columns = int(height * TEXELS), int(width * TEXELS)
    palette = {"brick": _BRICK, "plaster": _PLASTER, "concrete": _CONCRETE}[material]
    base = np.array(palette[rng.integers(len(palette))], np.float32) + rng.uniform(-12, 12)
    stains = 1 + 0.035 * fractal(rng, rows, columns, (4, 2), 4) + 0.02 * speckle(rng, rows, columns)
    wall = base * stains[..., None]
    if material == "brick":
        _lay_bricks(rng, wall)
    if material == "concrete":
        wall[:: int(3.1 * TEXELS)] *= 0.75
        wall[:, :: int(2.6 * TEXELS)] *= 0.8
    wall *= np.linspace(1.04, 0.93, rows, dtype=np.float32)[:, None, None]
    return wall


def _lay_bricks(rng: np.random.Generator, wall: np.ndarray) -> None:
    rows, columns = wall.shape[:2]
    tones = rng.normal(1, 0.1, (rows // 3 + 1, columns // 8 + 2)).astype(np.float32)
    row, column = np.mgrid[:rows, :columns]
    course = row // 3
    wall *= tones[course, (column + 4 * (course % 2)) // 8][..., None]
    wall[2::3] = wall[2::3] * 0.6 + 70


def _window(
    rng: np.random.Generator,
    image: np.ndarray,
    box: tuple[float, float, float, float],
    frame: Sequence[float],
    lit: bool,
) -> None:
    x, y, width, height = box
    _rectangle(image, x - 0.14, y - 0.16, width + 0.28, height + 0.3, np.array(frame) * 0.93)
    _rectangle(image, x, y, width, height, frame)
    glass = np.array(rng.choice([(52, 62, 74), (70, 84, 98), (38, 44, 50), (92, 110, 128)]), float)
    if lit:
        glass = np.array((236, 200, 130), float) * rng.uniform(0.8, 1.0)
    panes = 2 if width > 0.8 else 1
    pane = (width - 0.08 * (panes + 1)) / panes
    for index in range(panes):
        left = x + 0.08 + index * (pane + 0.08)
        _rectangle(image, left, y + 0.08, pane, height - 0.16, glass)
        _rectangle(image, left, y + 0.08, pane, (height - 0.16) * rng.uniform(0.2, 0.5), glass * 1.25 + 8)
        if rng.random() < 0.4:
            _rectangle(image, left, y + 0.08, pane * 0.35, height - 0.16, glass * 0.5 + (110, 106, 98))
    _rectangle(image, x - 0.18, y + height + 0.05, width + 0.36, 0.1, np.array(frame) * 1.02)
    _rectangle(image, x - 0.18, y + height + 0.15, width + 0.36, 0.07, (70, 66, 62))


def _storey(
    rng: np.random.Generator, image: np.ndarray, top: float, storey: float, width: float, spec: Windows
) -> None:
    count = max(1, int((width - 0.8) / spec.pitch))
    pitch = width / count
    glass_height = min(spec.height, storey - 0.9)
    for index in range(count):
        x = (index + 0.5) * pitch - spec.width / 2
        lit = spec.lamps and rng.random() < 0.35
        _window(rng, image, (x, top + 0.7, spec.width, glass_height), spec.frame, lit)
        if spec.balcony and index % 2 == 0:
            _rectangle(image, x - 0.35, top + storey - 0.75, spec.width + 0.7, 0.7, spec.rail)
            _rectangle(image, x - 0.4, top + storey - 0.1, spec.width + 0.8, 0.16, (96, 92, 88))


def _letters(
    rng: np.random.Generator,
    image: np.ndarray,
    x: float,
    y: float,
    width: float,
    height: float,
    color: Sequence[float] | np.ndarray,
) -> None:
    """Strokes that look like a shop's name from the other side of the street."""
    left = x
    while left < x + width - 0.25:
        letter = rng.uniform(0.18, 0.34)
        if rng.random() < 0.87:
            _rectangle(image, left, y, letter * 0.32, height, color)
            for bar in rng.choice((0.0, 0.42, 0.82), int(rng.integers(1, 3)), replace=False):
                _rectangle(image, left, y + bar * height, letter * 0.85, height * 0.2, color)
        left += letter + 0.08


def _shop(rng: np.random.Generator, image: np.ndarray, top: float, storey: float, width: float, lamps: bool) -> None:
    count = max(1, round(width / rng.uniform(4.5, 7.0)))
    unit = width / count
    for index in range(count):
        paint = np.array(_PAINT[rng.integers(len(_PAINT))], float)
        x = index * unit + 0.15
        span = unit - 0.3
        _rectangle(image, x, top + 0.25, span, storey - 0.25, paint * 0.85)
        _rectangle(image, x, top + 0.25, span, 0.7, paint)
        _letters(rng, image, x + 0.3 * span, top + 0.4, 0.5 * span, 0.4, (240, 236, 220))
        glass = np.array((222, 196, 140) if lamps else (66, 76, 84), float)
        _rectangle(image, x + 0.2, top + 1.1, span - 0.4, storey - 1.6, glass)
        for _ in range(int(3 * span)):
            goods = rng.uniform(50, 190) * rng.uniform(0.75, 1.2, 3) * (1.0 if lamps else 0.6)
            _rectangle(image, x + rng.uniform(0.3, span - 0.6), top + rng.uniform(1.7, storey - 1.0), 0.3, 0.5, goods)
        _rectangle(image, x + 0.2, top + 1.1, span - 0.4, 0.35, glass * 0.7 + 50)
        door = x + rng.uniform(0.3, max(0.31, span - 1.4))
        _rectangle(image, door, top + 1.15, 1.05, storey - 1.15, paint * 0.6)
        _rectangle(image, door + 0.15, top + 1.3, 0.75, storey - 1.7, glass * 0.8 + 12)
        if rng.random() < 0.45:
            _awning(rng, image, x, top + 0.95, span, paint)


def _awning(rng: np.random.Generator, image: np.ndarray, x: float, y: float, width: float, paint: np.ndarray) -> None:
    stripe = width / (2 * int(rng.integers(4, 9)))
    for index in range(int(width / stripe)):
        color = (232, 226, 210) if index % 2 else paint * 1.2 + 15
        _rectangle(image, x + index * stripe, y, stripe, 0.62, color)
    _rectangle(image, x, y + 0.62, width, 0.09, (44, 42, 42))


def _entrance(
    rng: np.random.Generator, image: np.ndarray, top: float, storey: float, width: float, spec: Windows
) -> None:
    _storey(rng, image, top, storey - 0.3, width, spec)
    door = rng.uniform(0.2, 0.7) * width
    paint = np.array(_PAINT[rng.integers(len(_PAINT))], float)
    _rectangle(image, door - 0.25, top + 0.75, 1.7, storey - 0.75, np.array(spec.frame))
    _rectangle(image, door, top + 1.0, 1.2, storey - 1.0, paint)
    _rectangle(image, door + 0.15, top + 1.1, 0.9, 0.4, (70, 84, 98))
    _rectangle(image, door + 0.15, top + 1.8, 0.35, 0.8, paint * 0.75)
    _rectangle(image, door + 0.7, top + 1.8, 0.35, 0.8, paint * 0.75)
    _rectangle(image, 0, top + storey - 0.45, door - 0.25, 0.45, (120, 114, 106))
    _rectangle(image, door + 1.45, top + storey - 0.45, width, 0.45, (120, 114, 106))


def _office(rng: np.random.Generator, width: float, height: float, lamps: bool) -> np.ndarray:
    """A curtain wall of glass."""
    wall = _wall(rng, width, height, "concrete") * 0.8
    glass = np.array(rng.choice([(98, 122, 140), (76, 98, 108), (112, 124, 128), (66, 86, 116)]), float)
    storey, pitch = rng.uniform(3.1, 3.6), rng.uniform(1.2, 1.9)
    for top in np.arange(0.6, height - 3.5, storey):
        for left in np.arange(0.2, width - pitch + 0.1, pitch):
            lit = lamps and rng.random() < 0.3
            tone = np.array((232, 210, 160), float) if lit else glass * rng.uniform(0.75, 1.25)
            _rectangle(wall, left, top, pitch - 0.12, storey - 0.7, tone)
            _rectangle(wall, left, top, pitch - 0.12, (storey - 0.7) * rng.uniform(0.1, 0.6), tone * 1.12 + 6)
    _shop(rng, wall, height - 3.8, 3.8, width, lamps)
    return wall


def facade(rng: np.random.Generator, width: float, height: float, lamps: bool) -> np.ndarray:
    """The front of a house, uint8 [h, w, 3] RGB at TEXELS per metre, top row first."""
    style = rng.choice(["townhouse", "classic", "block", "office"], p=[0.36, 0.32, 0.17, 0.15])
    if style == "office":
        return to_bytes(_office(rng, width, height, lamps))
    material = {"townhouse": "brick", "classic": "plaster", "block": "concrete"}[str(style)]
    wall = _wall(rng, width, height, material)
    light_frame = rng.random() < 0.7
    spec = Windows(
        width=rng.uniform(0.9, 1.5),
        height=rng.uniform(1.4, 1.9),
        pitch=rng.uniform(2.1, 3.2),
        frame=(226, 222, 212) if light_frame else (84, 72, 62),
        balcony=bool(rng.random() < 0.3),
        rail=rng.uniform(50, 130, 3),
        lamps=lamps,
    )
    ground = rng.uniform(3.6, 4.2)
    storeys = max(1, round((height - ground) / rng.uniform(2.9, 3.4)))
    storey = (height - ground) / storeys
    for index in range(storeys):
        _storey(rng, wall, index * storey, storey, width, spec)
        if style == "classic":
            _rectangle(wall, 0, (index + 1) * storey - 0.12, width, 0.16, np.array(spec.frame) * 0.9)
    if rng.random() < 0.6:
        _shop(rng, wall, height - ground, ground, width, lamps)
    else:
        _entrance(rng, wall, height - ground, ground, width, spec)
    _rectangle(wall, 0, 0, width, 0.35, np.array(spec.frame) * 0.86)
    _rectangle(wall, 0, 0.35, width, 0.12, (74, 70, 66))
    if rng.random() < 0.6:
        _rectangle(wall, 0.15, 0.4, 0.12, height - 0.4, (92, 90, 88))
    return to_bytes(wall)


def end_wall(rng: np.random.Generator, width: float, height: float) -> np.ndarray:
    """A house's side, mostly bare, uint8 [h, w, 3]."""
    wall = _wall(rng, width, height, str(rng.choice(["brick", "plaster", "concrete"]))) * 0.92
    for top in np.arange(1.0, height - 3.0, 3.2):
        if rng.random() < 0.5:
            _window(rng, wall, (rng.uniform(0.5, max(0.6, width - 2)), top, 0.9, 1.3), (208, 204, 196), False)
    return to_bytes(wall)


def roof(rng: np.random.Generator, width: float, depth: float) -> np.ndarray:
    """Tiles of a pitched roof, uint8 [h, w, 3]."""
    rows, columns = int(depth * TEXELS), int(width * TEXELS)
    base = np.array(rng.choice([(126, 72, 56), (92, 84, 82), (110, 66, 58), (74, 78, 84)]), np.float32)
    tiles = base * (1 + 0.07 * fractal(rng, rows, columns, (6, 6), 4))[..., None]
    tiles[:: TEXELS // 3] *= 0.72
    tiles[:, :: TEXELS // 4] *= 0.9
    return to_bytes(tiles)


def planks(rng: np.random.Generator, width: float, height: float) -> np.ndarray:
    """A wooden fence without gaps, uint8 [h, w, 3]."""
    rows, columns = int(height * 40), int(width * 40)
    base = np.array(rng.choice([(146, 104, 66), (122, 92, 68), (168, 132, 92), (104, 84, 70)]), np.float32)
    wood = base * (1 + 0.06 * fractal(rng, rows, columns, (2, 50), 3))[..., None]
    board = 6
    tones = rng.normal(1, 0.08, columns // board + 1).astype(np.float32)
    wood *= np.repeat(tones, board)[:columns][:, None]
    wood[:, ::board] *= 0.35
    for rail in (0.12, 0.8):
        row = int(rail * rows)
        wood[row : row + 5] *= 1.18
        wood[row + 5 : row + 8] *= 0.6
    return to_bytes(wood)


def railing(rng: np.random.Generator, width: float) -> tuple[np.ndarray, np.ndarray]:
    """A metal railing one metre high: color uint8 [h, w, 3] and alpha uint8 [h, w]."""
    rows, columns = 48, int(width * 48)
    paint = np.array(rng.choice([(52, 58, 60), (38, 74, 58), (176, 178, 178), (60, 48, 44)]), np.float32)
    color = np.tile(paint, (rows, columns, 1))
    alpha = np.zeros((rows, columns), np.uint8)
    for column in range(0, columns - 2, 8):
        alpha[:, column : column + 4] = 255
        color[:, column] += 30
    for row in (1, 40):
        alpha[row : row + 5] = 255
        color[row] += 34
    for column in range(0, columns - 4, 96):
        alpha[:, column : column + 6] = 255
    return to_bytes(color), alpha

"""What stands beside the road: houses, fences, hedges, trees and billboards; lengths are in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zmask_ros.data.street import facades
from zmask_ros.data.street.canvas import Canvas, Texture
from zmask_ros.data.street.furniture import draw_pole
from zmask_ros.data.street.labels import Label
from zmask_ros.data.street.weather import Weather
from zmask_ros.data.textures import foliage
from zmask_ros.data.textures.noise import to_bytes

_UP = np.array([0.0, 0.0, 1.0])


def _lit(color: np.ndarray, weather: Weather, normal: tuple[float, float, float]) -> np.ndarray:
    unit = np.array(normal) / np.linalg.norm(normal)
    return to_bytes(color * np.float32(weather.shade(unit)))


def along_street(
    canvas: Canvas, texture: Texture, side: int, x0: float, x1: float, y: float, z: tuple[float, float]
) -> None:
    """Draw a texture on a wall parallel to the street, the right way round from the road; `z` is (bottom, top)."""
    start, length = (x0, x1 - x0) if side > 0 else (x1, x0 - x1)
    canvas.quad(texture, np.array([start, y, z[1]]), np.array([length, 0.0, 0.0]), -_UP * (z[1] - z[0]))


@dataclass(frozen=True)
class Front:
    """A house as seen from the street.

    Attributes:
        front: texture of the front.
        end: texture of the side that faces the camera; None where a house as high hides it.
        roof: texture of the roof's slope; None for a flat roof.
        gable: RGB color of the gable.
        width, height, depth: metres.
        rise: of the ridge above the eaves, metres.
    """

    front: Texture
    end: Texture | None
    roof: Texture | None
    gable: np.ndarray
    width: float
    height: float
    depth: float
    rise: float


def draw_front(rng: np.random.Generator, weather: Weather, side: int) -> Front:
    """A house for one side of the street (1 left, -1 right), lit as that side is."""
    width, depth = float(rng.uniform(9.0, 16.0)), float(rng.uniform(7.0, 10.0))
    height = float(rng.uniform(6.8, 15.0))
    pitched = height < 12 and rng.random() < 0.75
    rise = float(rng.uniform(2.0, 3.4)) if pitched else 0.0
    face = _lit(facades.facade(rng, width, height, weather.lamps), weather, (0, -side, 0))
    end = _lit(facades.end_wall(rng, depth, height), weather, (-1, 0, 0))
    slope = _lit(facades.roof(rng, width, 4.0), weather, (0, -side * 0.55, 0.8)) if pitched else None
    return Front(
        front=Texture(face, Label.BUILDING),
        end=Texture(end, Label.BUILDING),
        roof=None if slope is None else Texture(slope, Label.BUILDING),
        gable=end[:40].reshape(-1, 3).mean(axis=0),
        width=width,
        height=height,
        depth=depth,
        rise=rise,
    )


def draw_house(canvas: Canvas, house: Front, side: int, far_x: float, line: float) -> None:
    """Draw a house whose front is `line` metres from the middle of the street and ends at `far_x`."""
    if house.end is not None:
        _draw_end(canvas, house, house.end, side, far_x - house.width, line)
    if house.roof is not None and _rises_above(canvas, house, side, line):
        _draw_roof(canvas, house, house.roof, side, far_x, line)
    along_street(canvas, house.front, side, far_x - house.width, far_x, side * line, (0.0, house.height))


def _rises_above(canvas: Canvas, house: Front, side: int, line: float) -> bool:
    """Whether the ridge is seen over the eaves."""
    eye, away = canvas.view.position[2], line - side * canvas.view.position[1]
    ridge = house.height + house.rise - eye
    return bool(ridge * away > (house.height - eye) * (away + house.depth / 2))


def _draw_roof(canvas: Canvas, house: Front, roof: Texture, side: int, far_x: float, line: float) -> None:
    start, length = (far_x - house.width, house.width) if side > 0 else (far_x, -house.width)
    half = side * house.depth / 2
    ridge = np.array([start, side * line + half, house.height + house.rise])
    slope = np.array([0.0, -half - side * 0.3, -house.rise - 0.1])
    canvas.quad(roof, ridge, np.array([length, 0.0, 0.0]), slope)


def _draw_end(canvas: Canvas, house: Front, end: Texture, side: int, near_x: float, line: float) -> None:
    y, back, top = side * line, side * (line + house.depth), house.height
    if house.rise:
        gable = np.array([(near_x, y, top), (near_x, (y + back) / 2, top + house.rise), (near_x, back, top)])
        canvas.polygon(gable, house.gable, Label.BUILDING)
    wall = np.array([near_x, max(y, back), top])
    canvas.quad(end, wall, np.array([0.0, -house.depth, 0.0]), -_UP * top)


class Fence:
    """A wooden fence or a metal railing along the street."""

    def __init__(self, rng: np.random.Generator, weather: Weather, side: int, wooden: bool) -> None:
        self.width = 8.0
        self._side = side
        self._height = float(rng.uniform(1.5, 2.0)) if wooden else 1.05
        if wooden:
            color = facades.planks(rng, self.width, self._height)
            self._texture = Texture(_lit(color, weather, (0, -side, 0)), Label.FENCE)
        else:
            color, alpha = facades.railing(rng, self.width)
            lit = _lit(color, weather, (0, -side, 0))
            self._texture = Texture(lit, Label.FENCE, alpha, fills_outline=True)

    def draw(self, canvas: Canvas, x0: float, x1: float, y: float) -> None:
        """Draw panels of it from `x1` back to `x0`."""
        count = max(1, round((x1 - x0) / self.width))
        length = (x1 - x0) / count
        for index in reversed(range(count)):
            start = x0 + index * length
            along_street(canvas, self._texture, self._side, start, start + length, y, (0.0, self._height))


class Hedge:
    """A hedge along the street, which is labelled as a tree."""

    def __init__(self, rng: np.random.Generator, weather: Weather, side: int) -> None:
        self._height = float(rng.uniform(2.2, 3.2))
        self._side = side
        color, alpha = foliage.hedge(rng, 12.0, self._height)
        self._texture = Texture(_lit(color, weather, (0, -side, 0.5)), Label.TREE, alpha)

    def draw(self, canvas: Canvas, x0: float, x1: float, y: float) -> None:
        """Draw it from `x0` to `x1`."""
        along_street(canvas, self._texture, self._side, x0, x1, y, (0.0, self._height))


class Tree:
    """A trunk and a crown."""

    def __init__(self, rng: np.random.Generator, crown: Texture, small: bool) -> None:
        self._crown = crown
        self._trunk = float(rng.uniform(2.3, 3.0))
        self.size = float(rng.uniform(3.2, 4.2) if small else rng.uniform(4.0, 5.8))
        self._radius = float(rng.uniform(0.12, 0.2))
        self._bark = np.array((92, 76, 60)) * rng.uniform(0.75, 1.15)

    @property
    def height(self) -> float:
        """Metres to the top."""
        return self._trunk + self.size * 1.05

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw it at (x, y)."""
        foot = np.array([x, y, 0.0])
        if canvas.misses(foot, 0.6 * self.size) or canvas.view.homogeneous(foot)[2] < 1.5:
            return
        for low, high, tone in ((-1.0, 0.1, 0.8), (0.1, 1.0, 1.1)):
            r = self._radius
            base, fork = self._trunk * 0.0, self._trunk + 0.35 * self.size
            points = [
                (x, y + 1.3 * low * r, base),
                (x, y + 1.3 * high * r, base),
                (x, y + 0.6 * high * r, fork),
                (x, y + 0.6 * low * r, fork),
            ]
            canvas.polygon(np.array(points), self._bark * tone, Label.TREE)
        canvas.sprite(self._crown, foot + self._trunk * 0.82 * _UP, self.size, self.size * 1.1)


def crowns(rng: np.random.Generator, weather: Weather, count: int) -> list[Texture]:
    """Crowns of several trees, lit by the weather."""
    side = float(weather.sun[1]) * min(1.0, 2.5 * weather.direct)
    drawn = [foliage.crown(rng, side) for _ in range(count)]
    return [Texture(_lit(color, weather, (-0.4, 0, 0.7)), Label.TREE, alpha) for color, alpha in drawn]


class Billboard:
    """A panel of 7.4 m by 3.7 m on two poles, turned a little to the road."""

    width, height, bottom = 7.4, 3.7, 2.4

    def __init__(self, side: int, inner: float) -> None:
        angle = np.radians(10.0) * side
        self._across = self.width * np.array([np.sin(angle), -np.cos(angle), 0.0])
        self._left = inner + self.width * np.cos(angle) if side > 0 else -inner
        self._lead = max(0.0, -self._across[0])

    def panel(self, x: float) -> np.ndarray:
        """Corners float [4, 3] of the picture at x, clockwise from top left as the traffic sees it."""
        origin = np.array([x + self._lead / 2, self._left, self.bottom + self.height])
        down = -self.height * _UP
        return np.array([origin, origin + self._across, origin + self._across + down, origin + down])

    def draw(self, canvas: Canvas, x: float, picture: Texture) -> None:
        """Draw poles, frame and picture at x."""
        corners = self.panel(x)
        for share in (0.2, 0.8):
            foot = corners[3] + share * self._across
            draw_pole(canvas, float(foot[0]) + 0.1, float(foot[1]), self.bottom + 0.5, 0.16, (98, 102, 104))
        right, behind = self._across / self.width * 0.14, np.array([0.05, 0.0, 0.0])
        rim = [
            corners[0] - right + 0.14 * _UP,
            corners[1] + right + 0.14 * _UP,
            corners[2] + right - 0.14 * _UP,
            corners[3] - right - 0.14 * _UP,
        ]
        canvas.polygon(np.array(rim) + behind, (66, 68, 70), Label.BUILDING)
        canvas.quad(picture, corners[0], self._across, -self.height * _UP)

"""Street furniture: poles, lamps, signs and traffic lights."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from zmask_ros.data.street.canvas import Canvas, Texture
from zmask_ros.data.street.labels import Label
from zmask_ros.data.street.view import vec

_RED, _BLUE, _WHITE, _YELLOW, _BLACK = (
    (196, 24, 32),
    (24, 74, 160),
    (240, 240, 236),
    (246, 200, 40),
    (24, 24, 26),
)
_GREEN = (20, 110, 70)


def draw_pole(canvas: Canvas, x: float, y: float, height: float, radius: float, paint: Sequence[float]) -> None:
    """Draw a round pole in three strips of shade; it is left out when thinner than a pixel and a half."""
    foot = np.array([x, y, 0.0])
    ends = canvas.view.homogeneous(np.array([foot, foot + vec(0, 0, height)]))
    if ends[:, 2].min() < 0.8:
        return
    pixels = ends[:, :2] / ends[:, 2:]
    half = radius * canvas.view.camera.fx / ends[:, 2]
    if 2 * half[0] < 1.5:
        return
    sunny = -float(np.sign(canvas.weather.sun[1]))
    for low, high in ((-1.0, -0.3), (-0.3, 0.4), (0.4, 1.0)):
        lit = 0.8 + 0.22 * sunny * (low + high) / 2
        color = canvas.color(np.array(paint) * lit, Label.POLE, float(ends[0, 2]))
        left, right = np.array([half * low, 0 * half]).T, np.array([half * high, 0 * half]).T
        canvas.fill(
            np.array([pixels[0] + left[0], pixels[0] + right[0], pixels[1] + right[1], pixels[1] + left[1]]),
            color,
        )


class Lamp:
    """A street lamp whose arm reaches over the road."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._height = rng.uniform(6.0, 8.0)
        self._radius = rng.uniform(0.1, 0.13)
        self._paint = rng.choice([(120, 124, 126), (64, 68, 70), (52, 78, 66), (150, 150, 146)])

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw it at (x, y)."""
        draw_pole(canvas, x, y, self._height, self._radius, self._paint)
        inward = -np.sign(y)
        top, reach = self._height - 0.05, 1.7 * inward
        arm = [(x, y, top - 0.1), (x, y, top + 0.1), (x, y + reach, top + 0.4), (x, y + reach, top + 0.24)]
        canvas.polygon(np.array(arm), self._paint * 0.8, Label.POLE)
        glow = (255, 240, 190) if canvas.weather.lamps else (196, 198, 196)
        end = y + reach
        head = [
            (x, end, top + 0.22),
            (x, end, top + 0.46),
            (x, end + 0.6 * inward, top + 0.46),
            (x, end + 0.6 * inward, top + 0.3),
        ]
        canvas.polygon(np.array(head), glow, Label.POLE)


def _blank(shape: str) -> tuple[np.ndarray, np.ndarray]:
    size = 96
    alpha = np.zeros((size, size), np.uint8)
    if shape == "round":
        cv2.circle(alpha, (48, 48), 47, 255, -1)
    elif shape == "triangle":
        cv2.fillConvexPoly(alpha, np.array([(48, 2), (95, 90), (1, 90)]), 255)
    elif shape == "octagon":
        points = [(28, 1), (68, 1), (95, 28), (95, 68), (68, 95), (28, 95), (1, 68), (1, 28)]
        cv2.fillConvexPoly(alpha, np.array(points), 255)
    else:
        alpha[:] = 255
    return np.zeros((size, size, 3), np.uint8), alpha


def _limit(image: np.ndarray, rng: np.random.Generator) -> None:
    image[:] = _RED
    cv2.circle(image, (48, 48), 35, _WHITE, -1)
    cv2.putText(image, str(int(rng.choice([20, 30, 40, 50]))), (20, 64), cv2.FONT_HERSHEY_DUPLEX, 1.4, _BLACK, 5)


def _no_entry(image: np.ndarray, rng: np.random.Generator) -> None:
    image[:] = _RED
    cv2.rectangle(image, (14, 38), (82, 58), _WHITE, -1)


def _arrow(image: np.ndarray, rng: np.random.Generator) -> None:
    image[:] = _BLUE
    cv2.arrowedLine(image, (48, 80), (48, 18), _WHITE, 9, tipLength=0.4)


def _warning(image: np.ndarray, rng: np.random.Generator) -> None:
    image[:] = _RED
    cv2.fillConvexPoly(image, np.array([(48, 24), (78, 80), (18, 80)]), _WHITE)
    cv2.line(image, (48, 42), (48, 62), _BLACK, 7)
    cv2.circle(image, (48, 72), 4, _BLACK, -1)


def _stop(image: np.ndarray, rng: np.random.Generator) -> None:
    image[:] = _RED
    cv2.putText(image, "STOP", (10, 58), cv2.FONT_HERSHEY_DUPLEX, 1.0, _WHITE, 4)


def _crossing(image: np.ndarray, rng: np.random.Generator) -> None:
    image[:] = _BLUE
    cv2.fillConvexPoly(image, np.array([(48, 12), (86, 80), (10, 80)]), _WHITE)
    cv2.line(image, (48, 34), (48, 56), _BLACK, 8)
    cv2.line(image, (48, 56), (36, 74), _BLACK, 6)
    cv2.line(image, (48, 56), (60, 74), _BLACK, 6)


def _guide(image: np.ndarray, rng: np.random.Generator) -> None:
    image[:] = (_BLUE, _GREEN, _YELLOW)[int(rng.integers(3))]
    ink = _BLACK if image[0, 0, 2] < 60 and image[0, 0, 0] > 200 else _WHITE
    cv2.rectangle(image, (4, 4), (91, 91), ink, 3)
    for row in (26, 50, 72):
        cv2.line(image, (14, row), (14 + int(rng.uniform(36, 60)), row), ink, 9)


_SIGNS = (
    ("round", _limit),
    ("round", _no_entry),
    ("round", _arrow),
    ("triangle", _warning),
    ("octagon", _stop),
    ("square", _crossing),
    ("square", _guide),
)


class Sign:
    """One or two traffic signs on a pole, facing the traffic."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._plates = []
        bottom = rng.uniform(2.1, 2.5)
        for _ in range(int(rng.choice([1, 2], p=[0.65, 0.35]))):
            shape, paint = _SIGNS[rng.integers(len(_SIGNS))]
            color, alpha = _blank(shape)
            paint(color, rng)
            width = rng.uniform(0.85, 1.05) * (1.5 if paint is _guide else 1.0)
            height = width if paint is not _guide else width * 0.65
            self._plates.append((Texture(color, Label.SIGN, alpha), width, height, bottom))
            bottom += height + 0.05
        self._height = bottom
        self._paint = rng.choice([(136, 140, 142), (92, 96, 98)])

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw it at (x, y)."""
        draw_pole(canvas, x, y, self._height, 0.075, self._paint)
        for texture, width, height, bottom in self._plates:
            origin = np.array([x - 0.08, y + width / 2, bottom + height])
            canvas.quad(texture, origin, np.array([0.0, -width, 0.0]), np.array([0.0, 0.0, -height]))


class TrafficLight:
    """A traffic light that changes with time."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._phase = rng.uniform(0, 16)
        self._states = [Texture(_light_box(state), Label.SIGN) for state in ("red", "yellow", "green")]
        self._paint = rng.choice([(70, 74, 76), (112, 116, 116), (196, 170, 60)])

    def draw(self, canvas: Canvas, x: float, y: float, seconds: float) -> None:
        """Draw it at (x, y) as it shows at that time."""
        draw_pole(canvas, x, y, 3.9, 0.1, self._paint)
        moment = (seconds + self._phase) % 16
        texture = self._states[0 if moment < 7 else 2 if moment < 14 else 1]
        origin = np.array([x - 0.12, y + 0.26, 4.0])
        canvas.quad(texture, origin, np.array([0.0, -0.52, 0.0]), np.array([0.0, 0.0, -1.3]))


def _light_box(state: str) -> np.ndarray:
    image = np.full((120, 48, 3), 30, np.uint8)
    cv2.rectangle(image, (0, 0), (47, 119), (58, 60, 60), 3)
    for row, (name, color) in zip(
        (22, 60, 98),
        (("red", (255, 50, 40)), ("yellow", (255, 200, 50)), ("green", (60, 240, 120))),
        strict=True,
    ):
        lit = color if name == state else tuple(int(c * 0.22) for c in color)
        cv2.circle(image, (24, row), 15, lit, -1)
    return image

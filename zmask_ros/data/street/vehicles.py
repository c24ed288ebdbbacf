"""Cars, vans and trucks as small shaded meshes, drawn face by face in perspective."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from zmask_ros.data.street.canvas import Canvas
from zmask_ros.data.street.labels import Label
from zmask_ros.data.street.mesh import Mesh, Triple
from zmask_ros.data.street.weather import Weather

_PAINTS = (
    (188, 190, 194),
    (60, 62, 68),
    (36, 38, 42),
    (226, 226, 224),
    (142, 24, 28),
    (32, 58, 110),
    (96, 104, 112),
    (52, 84, 66),
    (206, 170, 52),
    (150, 138, 120),
    (28, 84, 130),
    (178, 74, 36),
)
_GLASS, _TYRE, _RIM, _DARK = (44, 54, 64), (24, 24, 26), (150, 152, 156), (30, 30, 33)


@dataclass(frozen=True)
class Body:
    """Measures of a vehicle in metres, its front towards +x, its middle at x = 0.

    Attributes:
        lower: the side view's lower part, (x, z) from the rear's bottom over the top to the front's bottom; convex.
        cabin: the side view of the cabin, four (x, z): rear bottom, rear top, front top, front bottom.
        width: at the bottom of the cabin and below.
        roof_width: at the top of the cabin.
        wheels: x of the axles.
        wheel_radius: of the tyres.
        glazed: whether the cabin's sides and rear have windows.
    """

    lower: tuple[tuple[float, float], ...]
    cabin: tuple[tuple[float, float], ...]
    width: float
    roof_width: float
    wheels: tuple[float, ...]
    wheel_radius: float
    glazed: bool = True

    @property
    def half_length(self) -> float:
        """Half the length, metres."""
        return max(abs(x) for x, _ in self.lower)


SEDAN = Body(
    ((-2.15, 0.3), (-2.24, 0.55), (-2.18, 0.9), (-1.6, 0.98), (0.95, 0.95), (1.95, 0.78), (2.22, 0.6), (2.18, 0.28)),
    ((-1.72, 0.96), (-1.1, 1.42), (0.2, 1.44), (1.02, 0.94)),
    1.78,
    1.22,
    (-1.32, 1.36),
    0.33,
)
HATCH = Body(
    ((-1.9, 0.3), (-1.98, 0.55), (-1.94, 0.95), (0.85, 0.95), (1.75, 0.8), (1.98, 0.6), (1.94, 0.28)),
    ((-1.92, 0.95), (-1.5, 1.46), (0.1, 1.5), (0.95, 0.94)),
    1.72,
    1.24,
    (-1.2, 1.22),
    0.32,
)
SUV = Body(
    ((-2.2, 0.36), (-2.28, 0.65), (-2.24, 1.08), (1.0, 1.08), (1.95, 0.98), (2.26, 0.75), (2.22, 0.34)),
    ((-2.2, 1.07), (-1.9, 1.68), (0.2, 1.7), (1.05, 1.07)),
    1.86,
    1.36,
    (-1.36, 1.4),
    0.37,
)
VAN = Body(
    ((-2.45, 0.35), (-2.5, 0.6), (-2.5, 1.1), (1.5, 1.12), (2.2, 1.0), (2.48, 0.7), (2.45, 0.32)),
    ((-2.5, 1.1), (-2.44, 2.0), (1.0, 2.02), (1.75, 1.1)),
    1.92,
    1.7,
    (-1.5, 1.6),
    0.36,
)
TRUCK = Body(
    ((-4.0, 0.75), (-4.0, 0.95), (2.2, 0.95), (3.9, 0.95), (3.95, 0.6), (3.9, 0.5), (-3.9, 0.5)),
    ((-4.0, 0.9), (-4.0, 3.72), (2.3, 3.72), (2.3, 0.9)),
    2.55,
    2.55,
    (-2.6, 2.9),
    0.5,
    False,
)
Profile = tuple[tuple[float, float], ...]
CARS = (SEDAN, SEDAN, HATCH, HATCH, SUV, VAN)


def _inset(corners: Profile, left: float, right: float, low: float, high: float) -> list[tuple[float, float]]:
    """A part of a cabin's side view, by shares of its length and height."""
    (x0, z0), (x1, z1), (x2, _), (x3, _) = corners

    def at(along: float, up: float) -> tuple[float, float]:
        rear, front = x0 + (x1 - x0) * up, x3 + (x2 - x3) * up
        return rear + (front - rear) * along, z0 + (z1 - z0) * up

    return [at(left, low), at(left, high), at(right, high), at(right, low)]


def _wheels(mesh: Mesh, body: Body) -> None:
    radius, half = body.wheel_radius, body.width / 2
    angle = np.linspace(0, 2 * np.pi, 15)[:-1]
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    for axle in body.wheels:
        arch = ring * radius * 1.2 + np.array((axle, radius + 0.03))
        mesh.both_sides(arch[arch[:, 1] > 0.26], half + 0.004, half + 0.004, _DARK, 0.4)
        mesh.both_sides(ring * radius + np.array((axle, radius)), half + 0.01, half + 0.01, _TYRE)
        mesh.both_sides(ring * radius * 0.66 + np.array((axle, radius)), half + 0.015, half + 0.015, _RIM, 0.3)
        mesh.both_sides(ring * radius * 0.24 + np.array((axle, radius)), half + 0.02, half + 0.02, _DARK, 0.14)
        for spoke in range(5):
            turn = 2 * np.pi * spoke / 5
            tip = np.array([np.cos(turn), np.sin(turn)]) * radius * 0.62
            side = np.array([-tip[1], tip[0]]) * 0.1
            blade = np.array([side, tip * 0.98 + side, tip * 0.98 - side, -side]) + np.array((axle, radius))
            mesh.both_sides(blade, half + 0.022, half + 0.022, (92, 94, 98), 0.1)


def _underside(mesh: Mesh, body: Body) -> None:
    half, bottom = body.width / 2, body.lower[0][1] + 0.05
    for axle, ahead in ((body.wheels[0], -1.0), (body.wheels[-1], 1.0)):
        x = axle + ahead * body.wheel_radius * 0.8
        for side in (-1.0, 1.0):
            y0, y1 = side * (half - 0.02), side * (half - 0.24)
            mesh.add([(x, y0, 0), (x, y1, 0), (x, y1, bottom), (x, y0, bottom)], _TYRE, (ahead, 0, 0))
        inner = half - 0.24
        points = [(x, inner, 0.14), (x, -inner, 0.14), (x, -inner, bottom), (x, inner, bottom)]
        mesh.add(points, (16, 16, 18), (ahead, 0, 0))


def _panel(
    mesh: Mesh, x: float, y: tuple[float, float], z: tuple[float, float], color: Triple, ahead: float, detail: float
) -> None:
    points = [(x, y[0], z[0]), (x, y[1], z[0]), (x, y[1], z[1]), (x, y[0], z[1])]
    mesh.add(points, color, (ahead, 0.0, 0.0), detail)


def _lights(mesh: Mesh, body: Body, lamps: bool) -> None:
    half = body.width / 2
    rear, front = body.lower[1][0] - 0.015, body.lower[-2][0] + 0.015
    top = body.lower[2][1]
    red = (250, 40, 30) if lamps else (176, 22, 24)
    white = (255, 250, 220) if lamps else (222, 226, 230)
    for side in (-1.0, 1.0):
        outer, inner = side * (half - 0.04), side * (half - 0.38)
        _panel(mesh, rear, (outer, inner), (top - 0.3, top - 0.08), red, -1.0, 0.18)
        _panel(
            mesh,
            rear - 0.005,
            (outer, side * (half - 0.2)),
            (top - 0.3, top - 0.22),
            (230, 150, 60),
            -1.0,
            0.1,
        )
        _panel(mesh, front, (outer, inner), (0.54, 0.72), white, 1.0, 0.18)
    _panel(mesh, rear, (0.27, -0.27), (0.56, 0.68), (232, 230, 214), -1.0, 0.14)
    _panel(mesh, front, (0.27, -0.27), (0.4, 0.5), (232, 230, 214), 1.0, 0.14)
    _panel(mesh, front - 0.004, (0.5, -0.5), (0.52, 0.68), (26, 26, 28), 1.0, 0.2)
    _panel(mesh, rear + 0.004, (half * 0.96, -half * 0.96), (0.3, 0.46), _DARK, -1.0, 0.2)
    _panel(mesh, front - 0.008, (half * 0.96, -half * 0.96), (0.28, 0.42), _DARK, 1.0, 0.2)


def _side_details(mesh: Mesh, body: Body, paint: np.ndarray) -> None:
    y = body.width / 2 + 0.006
    low, high = body.lower[0][1] + 0.08, body.cabin[0][1] - 0.05
    for x in (-0.62, 0.32, body.cabin[3][0] + 0.05):
        mesh.both_sides([(x, low), (x, high), (x + 0.03, high), (x + 0.03, low)], y, y, paint * 0.45, 0.05)
    for x in (-0.5, 0.45):
        mesh.both_sides([(x, 0.8), (x, 0.84), (x + 0.18, 0.84), (x + 0.18, 0.8)], y, y, paint * 0.6, 0.05)
    rear, front = body.lower[0][0] + 0.1, body.lower[-1][0] - 0.1
    mesh.both_sides(
        [(rear, low - 0.06), (rear, low + 0.04), (front, low + 0.04), (front, low - 0.06)], y, y, _DARK, 0.1
    )
    mesh.both_sides([(rear, 0.66), (rear, 0.7), (front, 0.7), (front, 0.66)], y, y, paint * 1.16, 0.05)


def _cabin(mesh: Mesh, body: Body, paint: np.ndarray) -> None:
    corners = body.cabin
    widths = body.width * 0.94, body.roof_width
    pairs = (widths, (widths[1], widths[1]), (widths[1], widths[0]))
    half = widths[0] / 2, widths[1] / 2
    for (start, end), pair in zip(pairwise(corners), pairs, strict=True):
        mesh.strip(start, end, pair, paint)
    mesh.both_sides(corners, *half, paint * 0.98)
    if not body.glazed:
        return

    def across(up: float) -> float:
        return half[0] + (half[1] - half[0]) * up + 0.004

    for left, right in ((0.06, 0.36), (0.39, 0.65), (0.68, 0.95)):
        window = _inset(corners, left, right, 0.1, 0.86)
        mesh.both_sides(window, across(0.1), across(0.86), _GLASS, 0.25)
        shine = _inset(corners, left, right, 0.55, 0.86)
        mesh.both_sides(shine, across(0.55), across(0.86), (84, 100, 114), 0.3)
    for (start, end), outward in (((corners[0], corners[1]), -0.02), ((corners[3], corners[2]), 0.02)):
        _windscreen(mesh, np.array(start), np.array(end), widths, outward)


def _windscreen(mesh: Mesh, low: np.ndarray, high: np.ndarray, widths: tuple[float, float], outward: float) -> None:
    shift = np.array([outward, 0.008])
    for bottom, top, color in ((0.1, 0.9, _GLASS), (0.55, 0.9, (88, 104, 118))):
        start, end = low + (high - low) * bottom + shift, low + (high - low) * top + shift
        below, above = (0.86 * (widths[0] + (widths[1] - widths[0]) * up) for up in (bottom, top))
        if outward < 0:
            mesh.strip(start, end, (below, above), color, 0.3)
        else:
            mesh.strip(end, start, (above, below), color, 0.3)


def vehicle_mesh(rng: np.random.Generator, body: Body, lamps: bool) -> Mesh:
    """A vehicle of this body, with random paint; `lamps` says whether its lights are on."""
    paint = np.array(_PAINTS[rng.integers(len(_PAINTS))], float)
    mesh = Mesh()
    _underside(mesh, body)
    for start, end in pairwise(body.lower):
        mesh.strip(start, end, (body.width, body.width), paint)
    mesh.both_sides(body.lower, body.width / 2, body.width / 2, paint * 0.96)
    _side_details(mesh, body, paint)
    _cabin(mesh, body, paint)
    _lights(mesh, body, lamps)
    _wheels(mesh, body)
    return mesh


def truck_mesh(rng: np.random.Generator, lamps: bool) -> Mesh:
    """A box truck with random paint, whose rear panel is left bare for a picture."""
    body = TRUCK
    paint = np.array(rng.choice([(222, 222, 218), (196, 204, 212), (60, 84, 120), (150, 40, 40)]), float)
    mesh = Mesh()
    _underside(mesh, body)
    mesh.strip((-3.95, 0.5), (-3.95, 0.95), (2.4, 2.4), (44, 44, 48))
    mesh.both_sides([(-3.9, 0.5), (-3.9, 0.95), (3.9, 0.95), (3.9, 0.5)], 1.2, 1.2, (50, 50, 54))
    for x0, x1, top, tone in ((2.4, 3.9, 2.6, 0.9), (-4.0, 2.3, 3.72, 1.0)):
        profile = [(x0, 0.9), (x0, top), (x1, top), (x1, 0.9)]
        for start, end in pairwise(profile):
            mesh.strip(start, end, (body.width, body.width), paint * tone)
        mesh.both_sides(profile, body.width / 2, body.width / 2, paint * tone)
    mesh.both_sides([(2.7, 1.7), (2.7, 2.4), (3.7, 2.4), (3.8, 1.7)], 1.285, 1.285, _GLASS, 0.3)
    _panel(mesh, 3.91, (1.1, -1.1), (1.6, 2.4), _GLASS, 1.0, 0.3)
    red = (250, 40, 30) if lamps else (176, 22, 24)
    for side in (-1.0, 1.0):
        _panel(mesh, -4.01, (side * 1.2, side * 0.85), (0.62, 0.82), red, -1.0, 0.15)
        _panel(mesh, -4.01, (side * 0.82, side * 0.68), (0.62, 0.82), (230, 150, 60), -1.0, 0.1)
    _panel(mesh, -4.01, (0.27, -0.27), (0.64, 0.78), (232, 230, 214), -1.0, 0.12)
    _wheels(mesh, body)
    return mesh


class Vehicle:
    """A vehicle of one look and heading."""

    def __init__(self, mesh: Mesh, body: Body, yaw: float, weather: Weather, moving: bool) -> None:
        self.body = body
        self._mesh = mesh.placed(yaw, weather)
        self._casts = moving

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw it with its middle at (x, y); a parked one's shadow is part of the ground."""
        center = np.array([x, y, 0.0])
        if canvas.misses(center, self.body.half_length + 0.5):
            return
        if self._casts:
            canvas.shadow(center, self.body.half_length + 0.1, self.body.width / 2 + 0.1)
        self._mesh.draw(canvas, center, Label.CAR)

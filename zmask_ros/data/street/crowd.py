"""What moves in a street: pedestrians, bicyclists and traffic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zmask_ros.data.street.canvas import Canvas
from zmask_ros.data.street.ground import Street
from zmask_ros.data.street.people import draw_bicyclist, draw_looks, draw_pedestrian
from zmask_ros.data.street.thing import PERIOD, Thing, plain
from zmask_ros.data.street.vehicles import CARS, Vehicle, vehicle_mesh
from zmask_ros.data.street.weather import Weather


def _steady(start: float, speed: float) -> Callable[[float], float]:
    return lambda seconds: start + speed * seconds


class Crowd:
    """Fills a street with people and traffic.

    Attributes:
        things: what was added so far.
    """

    def __init__(self, rng: np.random.Generator, street: Street, weather: Weather) -> None:
        self._rng = rng
        self._street = street
        self._weather = weather
        self.things: list[Thing] = []

    def populate(self, travelled: Callable[[float], float], own_lane_free: bool) -> None:
        """Add pedestrians, bicyclists and traffic.

        Args:
            travelled: the camera's own way in metres, by the time in seconds.
            own_lane_free: whether a car drives ahead in the camera's lane.
        """
        rng, street = self._rng, self._street
        for number in range(int(rng.integers(38, 54))):
            side, heading = (int(s) for s in rng.choice((-1, 1), 2))
            y = side * (street.kerb + rng.uniform(1.5, street.line - street.kerb - 0.5))
            start, speed = float(rng.uniform(0, PERIOD)), float(rng.uniform(1.1, 1.6))
            if number % 4:
                self._walk(start, float(y), heading, speed)
            else:
                self._stroll(start, side, speed)
        edge = street.lane - 0.35
        for heading, speed in ((1, 2.8), (1, 3.2), (-1, 3.4), (-1, 3.9), (-1, 3.6)):
            start = float(rng.uniform(0, PERIOD))
            self._ride(_steady(start, heading * speed), -heading * edge, heading, speed)
        base, swing = float(rng.uniform(12, 17)), float(rng.uniform(2, 5))
        self._ride(lambda t: travelled(t) + base + swing * np.sin(0.3 * t), -edge, 1, 4.5)
        oncoming = float(rng.uniform(5.0, 9.0))
        for start in np.arange(int(rng.integers(2, 6))) * PERIOD / 6 + rng.uniform(0, PERIOD):
            self._traffic(_steady(float(start), -oncoming), street.lane / 2, np.pi)
        if own_lane_free:
            gap = float(rng.uniform(16, 34))
            self._traffic(lambda t: travelled(t) + gap + 3.0 * np.sin(0.25 * t), -street.lane / 2, 0.0)

    def _walk(self, start: float, y: float, heading: int, speed: float) -> None:
        looks = draw_looks(self._rng)

        def draw(canvas: Canvas, x: float, seconds: float) -> None:
            yaw = 0.0 if heading > 0 else np.pi
            draw_pedestrian(canvas, looks, np.array([x, y]), yaw, 4.2 * speed * seconds)

        self.things.append(Thing(_steady(start, heading * speed), draw, far=70.0))

    def _stroll(self, x: float, side: int, speed: float) -> None:
        """Add somebody who walks to and fro between the kerb and the houses."""
        looks = draw_looks(self._rng)
        inner, span = self._street.kerb + 0.8, self._street.line - self._street.kerb - 1.2

        def draw(canvas: Canvas, at: float, seconds: float) -> None:
            way = (speed * seconds + looks.phase) % (2 * span)
            outward = way < span
            y = side * (inner + (way if outward else 2 * span - way))
            yaw = np.pi / 2 * side * (1 if outward else -1)
            draw_pedestrian(canvas, looks, np.array([at, y]), yaw, 4.2 * speed * seconds)

        self.things.append(Thing(lambda seconds: x, draw, far=70.0))

    def _ride(self, at: Callable[[float], float], y: float, heading: int, speed: float) -> None:
        looks = draw_looks(self._rng)

        def draw(canvas: Canvas, x: float, seconds: float) -> None:
            draw_bicyclist(canvas, looks, np.array([x, y]), heading, -heading * 1.6 * speed * seconds)

        self.things.append(Thing(at, draw, far=70.0))

    def _traffic(self, at: Callable[[float], float], y: float, yaw: float) -> None:
        body = CARS[self._rng.integers(len(CARS))]
        mesh = vehicle_mesh(self._rng, body, self._weather.lamps)
        car = Vehicle(mesh, body, yaw, self._weather, moving=True)
        self.things.append(Thing(at, plain(car.draw, y), 5.0))

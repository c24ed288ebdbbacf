"""Builds a street: which things stand where, and the shadows that they cast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from zmask_ros.data.street.canvas import Canvas, Texture
from zmask_ros.data.street.furniture import Lamp, Sign, TrafficLight
from zmask_ros.data.street.ground import FAR, GroundPainter, Street
from zmask_ros.data.street.scenery import Billboard, Fence, Front, Hedge, Tree, crowns, draw_front, draw_house
from zmask_ros.data.street.thing import PERIOD, Draw, Thing, plain
from zmask_ros.data.street.vehicles import CARS, Vehicle, vehicle_mesh
from zmask_ros.data.street.weather import Weather

BILLBOARD_SPACING = 80.0
"""Between two billboards, metres."""
_FIRST_BILLBOARD = 56.0

Gap = tuple[float, float, str]
"""Where no houses stand: from, to, in metres along the street, and what is there instead."""


def draw_street(rng: np.random.Generator) -> Street:
    """Random measures of a street."""
    lane = float(rng.uniform(3.1, 3.5))
    kerb = lane + float(rng.choice([2.2, 2.2, 0.9]))
    places = (float(rng.uniform(20, 26)), float(rng.uniform(96, 106)), float(rng.uniform(176, 186)))
    sides = [int(s) for s in rng.choice((-1, 1), 3)]
    return Street(
        period=PERIOD,
        kerb=kerb,
        lane=lane,
        line=kerb + float(rng.uniform(3.2, 4.8)),
        side_streets=tuple((side, x, x + 9.0) for side, x in zip(sides, places, strict=True)),
        crossings=tuple(x - 5.0 for x in places),
    )


class StreetBuilder:
    """Fills a street with things and paints their shadows on the ground.

    Attributes:
        things: what was added so far.
    """

    def __init__(self, rng: np.random.Generator, street: Street, weather: Weather, painter: GroundPainter) -> None:
        self._rng = rng
        self._street = street
        self._weather = weather
        self._painter = painter
        self._crowns = crowns(rng, weather, 6)
        self._fronts = {side: [draw_front(rng, weather, side) for _ in range(8)] for side in (-1, 1)}
        self._hedges = {side: Hedge(rng, weather, side) for side in (-1, 1)}
        self._wood = {side: Fence(rng, weather, side, True) for side in (-1, 1)}
        self._rails = {side: Fence(rng, weather, side, False) for side in (-1, 1)}
        self.things: list[Thing] = []

    def _stand(self, x: float, draw: Draw, length: float = 2.5, far: float = FAR) -> None:
        self.things.append(Thing(lambda seconds: x, draw, length, far))

    def _cast(self, outline: np.ndarray, height: float) -> None:
        """Paint the sun's shadow of something upright over `outline` (x, y) on the ground; metres."""
        if self._weather.kind not in ("sunny", "dusk"):
            return
        sun = self._weather.sun
        shift = -height * sun[:2] / max(sun[2], 0.35)
        ends = np.concatenate([outline, outline + shift])
        hull = ends[_hull(ends)]
        for wrapped in (-PERIOD, 0.0, PERIOD):
            self._painter.shadow(hull + np.array((wrapped, 0.0)), 0.5, 0.12)

    def build_sides(self, billboards: Billboard | None) -> None:
        """Add houses, gardens and side streets; lots are left open where billboards stand."""
        for side in (-1, 1):
            open_lots = self._open_lots() if billboards is not None and side < 0 else []
            streets = [(x0, x1) for s, x0, x1 in self._street.side_streets if s == side]
            x = 0.0
            gaps = sorted([(x0, x1, "street") for x0, x1 in streets] + [(x0, x1, "lot") for x0, x1 in open_lots])
            for x0, x1, kind in _apart(gaps):
                self._fill(side, x, x0)
                (self._side_street if kind == "street" else self._lot)(side, x0, x1)
                x = x1
            self._fill(side, x, PERIOD)

    def _open_lots(self) -> list[tuple[float, float]]:
        places = np.arange(_FIRST_BILLBOARD, PERIOD, BILLBOARD_SPACING)
        return [(float(x) - 22.0, float(x) + 3.0) for x in places]

    def _fill(self, side: int, x0: float, x1: float) -> None:
        last, last_height = "", 0.0
        while x1 - x0 > 6.0:
            front = self._fronts[side][self._rng.integers(8)]
            width = front.width if x1 - x0 > front.width + 8.0 else x1 - x0
            if width > 24.0 or self._rng.random() < (0.3 if last != "garden" else 0.0):
                width = min(width, float(self._rng.uniform(10, 16)))
                self._garden(side, x0, x0 + width)
                last, last_height = "garden", 0.0
            else:
                hidden = last_height >= front.height + front.rise
                self._house(side, x0, x0 + width, replace(front, end=None) if hidden else front)
                last, last_height = "house", front.height
            x0 += width

    def _house(self, side: int, x0: float, x1: float, front: Front) -> None:
        scaled, line = replace(front, width=x1 - x0), self._street.line
        self._stand(x1, lambda canvas, x, seconds: draw_house(canvas, scaled, side, x, line), x1 - x0)
        y0, y1 = side * line, side * (line + front.depth)
        self._cast(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]), front.height)

    def _garden(self, side: int, x0: float, x1: float) -> None:
        rng, line = self._rng, self._street.line
        front = self._fronts[side][rng.integers(8)]
        wood, hedge = self._wood[side], self._hedges[side]
        with_hedge = rng.random() < 0.6
        trees = [(Tree(rng, self._crown(), False), float(rng.uniform(2, x1 - x0 - 2))) for _ in range(2)]
        scaled = replace(front, width=x1 - x0)

        def draw(canvas: Canvas, x: float, seconds: float) -> None:
            near = x - (x1 - x0)
            draw_house(canvas, scaled, side, x, line + 6.5)
            for tree, back in sorted(trees, key=lambda pair: pair[1]):
                tree.draw(canvas, x - back, side * (line + 3.5))
            if with_hedge:
                hedge.draw(canvas, near, x, side * (line + 0.6))
            wood.draw(canvas, near, x, side * line)

        self._stand(x1, draw, x1 - x0)
        self._cast(np.array([(x0, side * line), (x1, side * line), (x1, side * line)]), 1.7)

    def _lot(self, side: int, x0: float, x1: float) -> None:
        line, front = self._street.line, self._fronts[side][self._rng.integers(8)]
        scaled = replace(front, width=x1 - x0)
        wood = self._wood[side]

        def draw(canvas: Canvas, x: float, seconds: float) -> None:
            draw_house(canvas, scaled, side, x, line + 8.0)
            wood.draw(canvas, x - (x1 - x0), x, side * (line + 6.0))

        self._stand(x1, draw, x1 - x0)

    def _side_street(self, side: int, x0: float, x1: float) -> None:
        rng, kerb = self._rng, self._street.kerb
        front = self._fronts[side][rng.integers(8)]
        scaled = replace(front, width=22.0)
        self._stand(x1, lambda canvas, x, seconds: draw_house(canvas, scaled, side, x + 6.5, 21.0), x1 - x0)
        for place, at in ((-kerb - 0.5, x0 - 5.8), (kerb + 0.5, x0 - 1.0)):
            light = TrafficLight(rng)
            self._stand(at, _with_time(light.draw, place), far=80.0)

    def _crown(self) -> Texture:
        return self._crowns[self._rng.integers(len(self._crowns))]

    def _free(self, side: int, x: float, margin: float) -> bool:
        """Whether a place at the kerb is clear of side streets and crossings."""
        streets = [(x0, x1) for s, x0, x1 in self._street.side_streets if s == side]
        crossings = [(x0 - 2.0, x0 + 4.0) for x0 in self._street.crossings]
        return all(not x0 - margin < x < x1 + margin for x0, x1 in streets + crossings)

    def furnish(self, billboards: Billboard | None) -> None:
        """Add trees, lamps, signs, railings and parked cars along both kerbs."""
        kerb = self._street.kerb
        density = self._rng.uniform(0.4, 0.95)
        for side in (-1, 1):
            for x in np.arange(4.0, PERIOD - 4.0, 8.0):
                place = float(x + self._rng.uniform(-1.2, 1.2))
                if not self._free(side, place, 1.5):
                    continue
                slot = round((x - 4.0) / 8.0)
                if slot % 4 == 1:
                    self._stand(place, plain(Lamp(self._rng).draw, side * (kerb + 0.5)), far=70.0)
                    self._cast(
                        np.array([(place - 0.1, side * (kerb + 0.5)), (place + 0.1, side * (kerb + 0.5))] * 2),
                        6.0,
                    )
                elif slot % 4 == 3:
                    self._stand(place, plain(Sign(self._rng).draw, side * (kerb + 0.55)), far=60.0)
                elif self._rng.random() < density and not (billboards is not None and side < 0):
                    self._plant(place, side * (kerb + 0.9))
            self._park(side)
        self._rail_crossings()

    def _plant(self, x: float, y: float) -> None:
        tree = Tree(self._rng, self._crown(), True)
        self._stand(x, plain(tree.draw, y))
        angle = np.linspace(0, 2 * np.pi, 9)[:-1]
        round_crown = np.column_stack([np.cos(angle), np.sin(angle)]) * tree.size * 0.4
        lean = -self._weather.sun[:2] / max(self._weather.sun[2], 0.35) * tree.height * 0.55
        self._cast(round_crown + lean + np.array((x, y)), 1.5)

    def _rail_crossings(self) -> None:
        kerb = self._street.kerb
        for x0 in self._street.crossings:
            for side in (-1, 1):
                start, end = x0 - 13.0, x0 - 1.0
                rail, y = self._rails[side], side * (kerb + 0.3)
                self._stand(end, _rail(rail.draw, end - start, y), end - start, 70.0)

    def _park(self, side: int) -> None:
        street, rng = self._street, self._rng
        if street.kerb - street.lane < 1.6:
            return
        share = rng.uniform(0.45, 0.8)
        for x in np.arange(4.0, PERIOD - 3.0, 6.0):
            if rng.random() > share or not self._free(side, x, 3.6):
                continue
            body = CARS[rng.integers(len(CARS))]
            yaw = 0.0 if side < 0 else np.pi
            car = Vehicle(vehicle_mesh(rng, body, False), body, yaw, self._weather, moving=False)
            y = side * (street.kerb - 0.25 - body.width / 2)
            self._stand(float(x), plain(car.draw, y), 5.0)
            half, wide = body.half_length, body.width / 2
            corners = np.array([(x - half, y - wide), (x + half, y - wide), (x + half, y + wide), (x - half, y + wide)])
            self._painter.shadow(corners, 0.7, 0.14)
            self._cast(corners, 1.2)

    def add_billboards(self, draw: Draw) -> list[float]:
        """Add billboards all along the street, which `draw` draws; returns their places, metres."""
        places = [float(x) for x in np.arange(_FIRST_BILLBOARD, PERIOD, BILLBOARD_SPACING)]
        for x in places:
            self._stand(x, draw)
        return places


def _with_time(draw: Callable[[Canvas, float, float, float], None], y: float) -> Draw:
    return lambda canvas, x, seconds: draw(canvas, x, y, seconds)


def _rail(draw: Callable[[Canvas, float, float, float], None], length: float, y: float) -> Draw:
    return lambda canvas, x, seconds: draw(canvas, x - length, x, y)


def _apart(gaps: list[Gap]) -> list[Gap]:
    """Gaps without those that overlap the one before."""
    kept: list[Gap] = []
    for gap in gaps:
        if not kept or gap[0] >= kept[-1][1]:
            kept.append(gap)
    return kept


def _hull(points: np.ndarray) -> np.ndarray:
    return cv2.convexHull(points.astype(np.float32), returnPoints=False)[:, 0]

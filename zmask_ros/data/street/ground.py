"""The ground: one painted map of the whole street, seen in perspective."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from zmask_ros.data.street.canvas import Canvas, Texture
from zmask_ros.data.street.labels import Label
from zmask_ros.data.street.weather import Weather
from zmask_ros.data.textures.noise import fractal, speckle, to_bytes

TEXELS = 20
"""Pixels of the map a metre."""
FAR = 125.0
"""Depth beyond which nothing but the backdrop is drawn, metres."""
HALF_WIDTH = 18.0
"""Of the map, metres to either side of the street's middle."""
BEHIND = 4.0
"""Metres of the map's end that are repeated before its beginning."""
_BANDS = (
    (9.0, (0, 0)),
    (13.0, (0, 1)),
    (19.0, (0, 2)),
    (28.0, (0, 3)),
    (42.0, (1, 4)),
    (70.0, (1, 5)),
    (FAR, (2, 6)),
)
"""Rows nearer than this depth in metres use a map halved (across, along) so many times."""


@dataclass(frozen=True)
class Street:
    """Measures of a street, in metres.

    Attributes:
        period: length after which it repeats itself.
        kerb: distance of both kerbs from the middle.
        lane: width of a driving lane.
        line: distance of the house fronts from the middle.
        side_streets: (side, from, to), side 1 left and -1 right.
        crossings: where zebra crossings begin.
    """

    period: float
    kerb: float
    lane: float
    line: float
    side_streets: tuple[tuple[int, float, float], ...]
    crossings: tuple[float, ...]


class GroundPainter:
    """Paints the map: rows along the street, columns from left to right."""

    def __init__(self, rng: np.random.Generator, street: Street, weather: Weather) -> None:
        self._rng = rng
        self._street = street
        self._weather = weather
        self._rows, self._columns = int(street.period * TEXELS), int(2 * HALF_WIDTH * TEXELS)
        self._map = np.zeros((self._rows, self._columns, 3), np.float32)
        self._pavement = np.ones((self._rows, self._columns), bool)
        self._light = np.ones((self._rows, self._columns), np.float32)

    def _rows_at(self, x0: float, x1: float) -> slice:
        return slice(max(0, round(x0 * TEXELS)), max(0, round(x1 * TEXELS)))

    def _columns_at(self, y_left: float, y_right: float) -> slice:
        left = round((HALF_WIDTH - y_left) * TEXELS)
        return slice(max(0, left), max(0, round((HALF_WIDTH - y_right) * TEXELS)))

    def paint(self) -> None:
        """Paint asphalt, pavement, kerbs and markings."""
        street = self._street
        self._pavement[:, self._columns_at(street.kerb, -street.kerb)] = False
        for side, x0, x1 in street.side_streets:
            ends = sorted((side * street.kerb, side * HALF_WIDTH), reverse=True)
            self._pavement[self._rows_at(x0, x1), self._columns_at(*ends)] = False
        self._lay_asphalt()
        self._lay_slabs()
        self._set_kerbs()
        self._mark_lanes()

    def _lay_asphalt(self) -> None:
        rng, shape = self._rng, (self._rows, self._columns)
        base = rng.uniform(82, 118) - (22 if self._weather.wet else 0)
        tint = (np.array((1.0, 1.0, 1.02)) + rng.uniform(-0.02, 0.02, 3)).astype(np.float32)
        tone = 1 + 0.045 * fractal(rng, *shape, (60, 8), 3) + 0.06 * speckle(rng, *shape)
        for _ in range(14):
            x, y = rng.uniform(0, self._street.period), rng.uniform(-1, 1) * self._street.kerb
            patch = self._rows_at(x, x + rng.uniform(1, 9)), self._columns_at(y + rng.uniform(0.6, 2.4), y)
            tone[patch] *= rng.uniform(0.82, 1.12)
        for track in (-0.7, 0.7):
            for lane in (-0.5, 0.5):
                center = lane * self._street.lane + track
                tone[:, self._columns_at(center + 0.3, center - 0.3)] *= 0.95
        np.multiply(base * tint, tone[..., None], out=self._map)
        self._crack()

    def _crack(self) -> None:
        gray = [float(self._map.mean()) * 0.72] * 3
        for _ in range(24):
            x, y = self._rng.uniform(0, self._street.period), self._rng.uniform(-1, 1) * self._street.kerb
            steps = self._rng.normal(0, 0.35, (12, 2)).cumsum(axis=0) + np.array((x, y))
            points = np.column_stack([(HALF_WIDTH - steps[:, 1]) * TEXELS, steps[:, 0] * TEXELS])
            cv2.polylines(self._map, [points.astype(np.int32)], False, gray, 1)
        for _ in range(9):
            x, y = self._rng.uniform(0, self._street.period), self._rng.uniform(-0.8, 0.8) * self._street.kerb
            center = int((HALF_WIDTH - y) * TEXELS), int(x * TEXELS)
            cv2.circle(self._map, center, int(0.34 * TEXELS), [58.0] * 3, -1)
            cv2.circle(self._map, center, int(0.34 * TEXELS), [92.0] * 3, 1)

    def _lay_slabs(self) -> None:
        rng = self._rng
        base = np.array(rng.choice([(172, 166, 156), (158, 156, 154), (186, 170, 152), (178, 158, 140)]), np.float32)
        base *= 0.8 if self._weather.wet else 1.0
        slab = int(rng.choice([0.5, 0.75, 1.0]) * TEXELS)
        rows, columns = self._rows // slab + 1, self._columns // slab + 1
        each = rng.normal(1, 0.045, (rows, columns)).astype(np.float32)
        wide = cv2.resize(each, (columns * slab, rows * slab), interpolation=cv2.INTER_NEAREST)
        tones = wide[: self._rows, : self._columns] + 0.03 * speckle(rng, self._rows, self._columns)
        tones[::slab] *= 0.76
        tones[:, ::slab] *= 0.76
        self._map[self._pavement] = (base * tones[..., None])[self._pavement]

    def _set_kerbs(self) -> None:
        body = self._pavement.astype(np.uint8)
        reach = cv2.getStructuringElement(cv2.MORPH_RECT, (7, 7))
        inner = body - cv2.erode(body, reach, borderType=cv2.BORDER_REPLICATE)
        gutter = cv2.dilate(body, reach, borderType=cv2.BORDER_REPLICATE) - body
        self._map[inner > 0] = (196, 194, 188)
        self._map[gutter > 0] *= 0.62

    def _line(self, x0: float, x1: float, y: float, width: float) -> None:
        area = self._rows_at(x0, x1), self._columns_at(y + width / 2, y - width / 2)
        region = self._map[area]
        wear = np.clip(0.86 + 0.16 * speckle(self._rng, *region.shape[:2]), 0, 1)[..., None]
        region[:] = region * (1 - wear) + np.float32(226) * wear

    def _mark_lanes(self) -> None:
        street, rng = self._street, self._rng
        style = rng.choice(["dashed", "solid", "double"], p=[0.6, 0.25, 0.15])
        dash, pause = (3.0, 3.0) if rng.random() < 0.5 else (4.0, 6.0)
        if style == "dashed":
            for x in np.arange(0.0, street.period - dash, dash + pause):
                self._line(x, x + dash, 0.0, 0.15)
        for y in {"dashed": (), "solid": (0.0,), "double": (-0.16, 0.16)}[str(style)]:
            self._line(0.0, street.period, y, 0.13)
        if street.kerb - street.lane > 1.6:
            for side in (-1, 1):
                self._line(0.0, street.period, side * street.lane, 0.1)
                for x in np.arange(0.0, street.period, 6.0):
                    self._rung(x, side)
        for x in street.crossings:
            for y in np.arange(-street.kerb + 0.5, street.kerb - 0.3, 1.0):
                self._line(x, x + 3.0, y, 0.5)
            self._rung_across(x - 1.6)

    def _rung(self, x: float, side: int) -> None:
        for step in np.arange(0.0, self._street.kerb - self._street.lane, 0.1):
            self._line(x, x + 0.1, side * (self._street.lane + step), 0.1)

    def _rung_across(self, x: float) -> None:
        for y in np.arange(-self._street.lane + 0.2, -0.2, 0.1):
            self._line(x, x + 0.35, y, 0.1)

    def shadow(self, outline: np.ndarray, strength: float, softness: float) -> None:
        """Darken inside an outline of (x, y) metres, float [n, 2], with soft edges."""
        points = np.column_stack([(HALF_WIDTH - outline[:, 1]) * TEXELS, outline[:, 0] * TEXELS]).astype(np.int32)
        margin = int(3 * softness * TEXELS) + 2
        x0, y0 = np.maximum(points.min(axis=0) - margin, 0)
        x1, y1 = np.minimum(points.max(axis=0) + margin, (self._columns, self._rows))
        if x1 <= x0 or y1 <= y0:
            return
        region = np.zeros((y1 - y0, x1 - x0), np.float32)
        cv2.fillPoly(region, [points - np.array([x0, y0], np.int32)], 1.0)
        soft = cv2.GaussianBlur(region, (0, 0), softness * TEXELS)
        light = self._light[y0:y1, x0:x1]
        np.minimum(light, 1 - strength * soft, out=light)

    def finish(self) -> Ground:
        """The painted ground."""
        weather = self._weather
        lit = float(weather.shade(np.array([0.0, 0.0, 1.0])))
        shaded = self._map * (self._light * lit)[..., None]
        if weather.wet:
            puddles = np.clip(fractal(self._rng, self._rows, self._columns, (40, 6), 4) - 0.5, 0, 0.5)[..., None]
            shaded = shaded * (1 - puddles) + weather.haze_color * 0.8 * puddles
        labels = np.where(self._pavement, Label.PAVEMENT, Label.ROAD).astype(np.uint8)
        return Ground(np.dstack([to_bytes(shaded), labels]), self._street.period, weather)


class Ground:
    """The painted map in several sizes, drawn in perspective.

    Color and label are interpolated together: the only labels are ROAD and PAVEMENT, whose ids are neighbours,
    so rounding always gives one of the two.
    """

    def __init__(self, painted: np.ndarray, period: float, weather: Weather) -> None:
        ahead = int((FAR + 25.0) * TEXELS)
        full = np.concatenate([painted[-int(BEHIND * TEXELS) :], painted, painted[:ahead]])
        self._period = period
        self._weather = weather
        self._levels = {}
        last = full
        for _, (across, along) in _BANDS:
            size = full.shape[1] >> across, full.shape[0] >> along
            last = last if size == last.shape[1::-1] else cv2.resize(last, size, interpolation=cv2.INTER_AREA)
            self._levels[across, along] = last

    def draw(self, canvas: Canvas) -> None:
        """Draw everything below the horizon."""
        view = canvas.view
        bottom = canvas.height
        for depth, level in _BANDS:
            top = int(np.clip(np.ceil(view.ground_row(depth)), 0, bottom))
            if top < bottom:
                self._draw_band(canvas, top, bottom, self._levels[level])
            bottom = top
        self._lay_haze(canvas, bottom)

    def _draw_band(self, canvas: Canvas, top: int, bottom: int, painted: np.ndarray) -> None:
        rows, columns = painted.shape[:2]
        start = np.floor(canvas.view.position[0] / self._period) * self._period - BEHIND
        length = (rows / self._levels[0, 0].shape[0]) ** -1
        step_y = 2 * HALF_WIDTH / columns
        step_x = length / TEXELS
        plane = canvas.view.plane(
            np.array([start + step_x / 2, HALF_WIDTH - step_y / 2, 0.0]),
            np.array([0.0, -step_y, 0.0]),
            np.array([step_x, 0.0, 0.0]),
        )
        warp = np.array([[1.0, 0, 0], [0, 1.0, -top], [0, 0, 1.0]]) @ plane
        size = canvas.width, bottom - top
        canvas.pixels[top:bottom] = cv2.warpPerspective(
            painted, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )

    def _lay_haze(self, canvas: Canvas, top: int) -> None:
        view = canvas.view
        horizon, drop = view.horizon_row(), view.camera.fy * view.position[2]
        row = top
        while row < canvas.height:
            depth = drop / max(row - horizon, 0.5)
            if self._weather.haze(depth) < 0.01:
                return
            end = min(canvas.height, row + max(1, int((row - horizon) * 0.05)))
            canvas.pixels[row:end] = cv2.LUT(canvas.pixels[row:end], self._weather.haze_table(depth))
            row = end


def backdrop(textures: list[tuple[Texture, float, float]], canvas: Canvas) -> None:
    """Draw what closes the street far away: (texture, width, height) panels that stay FAR metres ahead."""
    for texture, width, height in textures:
        origin = np.array([canvas.view.position[0] + FAR, width / 2, height])
        canvas.quad(texture, origin, np.array([0.0, -width, 0.0]), np.array([0.0, 0.0, -height - 1.5]))

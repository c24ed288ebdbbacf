"""The canvas that everything is drawn on: color and label of a pixel are written together, so that they agree.

Edges are hard, one pixel is one class; the lens blur of the finished picture softens what is seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from zmask_ros.data.street.view import View
from zmask_ros.data.street.weather import Weather

NEAR = 0.5
"""Depth below which nothing is drawn, metres."""
SUBPIXEL = 4
"""Binary digits behind the point in the coordinates that OpenCV draws with."""
_SQUARE = np.array([[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
_SHADOW_COLOR = (8.0, 8.0, 12.0)
# Growth and strength of the rings that make a soft shadow.
_NEAR_SHADOW, _FAR_SHADOW = ((1.15, 0.18), (1.0, 0.3), (0.85, 0.3)), ((1.0, 0.55),)


def _rounded_square(corners: int) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    return np.sign(ring) * np.sqrt(np.abs(ring))


_RING = _rounded_square(12)


class Texture:
    """Pixels with one label, shrunk apart in both directions so that nothing glitters from afar.

    Args:
        color: uint8 [h, w, 3], RGB.
        label: the class of every pixel of it.
        alpha: uint8 [h, w], drawn where above 127; None draws all.
        fills_outline: with alpha, label the gaps as well (a railing is a fence between its bars too).
    """

    def __init__(
        self, color: np.ndarray, label: int, alpha: np.ndarray | None = None, fills_outline: bool = False
    ) -> None:
        labels = np.full((*color.shape[:2], 1), label, np.uint8)
        self.label = int(label)
        self.fills_outline = fills_outline
        self.height, self.width = color.shape[:2]
        self._pixels = np.concatenate([color, labels], axis=2)
        self._alpha = alpha
        self._shrunk: dict[tuple[int, int], tuple[np.ndarray, np.ndarray | None]] = {}

    def level(self, across: int, down: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixels and alpha halved `across` times in width and `down` times in height."""
        if (across, down) not in self._shrunk:
            size = max(1, self.width >> across), max(1, self.height >> down)
            alpha = self._alpha
            shrunk = cv2.resize(self._pixels, size, interpolation=cv2.INTER_AREA)
            if alpha is not None:
                alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
            self._shrunk[across, down] = shrunk, alpha
        return self._shrunk[across, down]

    def fitting(self, across_px: float, down_px: float) -> tuple[np.ndarray, np.ndarray | None]:
        """The level with about one texel a pixel when the texture covers that many pixels."""
        return self.level(_halvings(self.width, across_px), _halvings(self.height, down_px))


@lru_cache(maxsize=64)
def _tint_table(color: tuple[float, ...], share: float, label: int | None) -> np.ndarray:
    levels = np.arange(256, dtype=np.float32)[:, None]
    table = np.empty((256, 1, 4), np.uint8)
    table[:, 0, :3] = levels * (1 - share) + np.array(color, np.float32) * share
    table[:, 0, 3] = levels[:, 0] if label is None else label
    return table


def _halvings(texels: int, pixels: float) -> int:
    return min(9, max(0, math.floor(math.log2(texels / max(pixels, 1.0)) + 0.5)))


def clip_near(points: np.ndarray) -> np.ndarray:
    """The part of a homogeneous polygon float [n, 3] that lies further than NEAR."""
    if points[:, 2].min() >= NEAR:
        return points
    kept = []
    for this, following in zip(points, (*points[1:], points[0]), strict=True):
        if this[2] >= NEAR:
            kept.append(this)
        if (this[2] >= NEAR) != (following[2] >= NEAR):
            share = (NEAR - this[2]) / (following[2] - this[2])
            kept.append(this + share * (following - this))
    return np.array(kept).reshape(-1, 3)


def _fixed(pixels: np.ndarray) -> np.ndarray:
    return np.rint(np.maximum(np.minimum(pixels, 30000), -30000) * (1 << SUBPIXEL)).astype(np.int32)


class Canvas:
    """Color and labels of one frame, drawn from far to near.

    Attributes:
        view: projection of the frame's camera.
        weather: light and haze.
        width, height: pixels.
        pixels: uint8 [height, width, 4]: RGB and label.
    """

    def __init__(self, view: View, weather: Weather) -> None:
        self.view = view
        self.weather = weather
        self.width, self.height = view.camera.width, view.camera.height
        self.pixels = np.zeros((self.height, self.width, 4), np.uint8)

    def box(self, pixels: np.ndarray) -> tuple[int, int, int, int] | None:
        """Columns and rows (x0, y0, x1, y1) around float [n, 2] within the picture; None if outside."""
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
        x1, y1 = min(self.width, int(high[0]) + 2), min(self.height, int(high[1]) + 2)
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def quad(self, texture: Texture, origin: np.ndarray, across: np.ndarray, down: np.ndarray) -> None:
        """Draw a texture on the parallelogram `origin`, `origin + across`, `origin + down` (world metres)."""
        plane = self.view.plane(origin, across, down)
        corners = (plane @ _SQUARE).T
        visible = clip_near(corners)
        if len(visible) < 3:
            return
        outline = visible[:, :2] / visible[:, 2:]
        box = self.box(outline)
        if box is None:
            return
        if len(visible) == 4 and visible is corners:
            (ax, ay), (bx, by), (cx, cy), (dx, dy) = outline.tolist()
            across_px = max(math.hypot(bx - ax, by - ay), math.hypot(cx - dx, cy - dy))
            down_px = max(math.hypot(dx - ax, dy - ay), math.hypot(cx - bx, cy - by))
            pixels, alpha = texture.fitting(across_px, down_px)
        else:
            pixels, alpha = texture.level(0, 0)
        self._paste(texture, pixels, alpha, plane, outline, box, float(visible[:, 2].mean()))

    def _paste(
        self,
        texture: Texture,
        pixels: np.ndarray,
        alpha: np.ndarray | None,
        plane: np.ndarray,
        outline: np.ndarray,
        box: tuple[int, int, int, int],
        depth: float,
    ) -> None:
        x0, y0, x1, y1 = box
        rows, columns = pixels.shape[:2]
        texel = np.array([[1 / columns, 0, 0.5 / columns], [0, 1 / rows, 0.5 / rows], [0, 0, 1.0]])
        warp = np.array([[1.0, 0, -x0], [0, 1.0, -y0], [0, 0, 1.0]]) @ plane @ texel
        size = x1 - x0, y1 - y0
        hazy, shrinks = self.weather.haze(depth) > 0.02, size[0] * size[1] < rows * columns
        if hazy and not shrinks:
            pixels = cv2.LUT(pixels, self.weather.haze_table(depth))
        drawn = cv2.warpPerspective(pixels, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if hazy and shrinks:
            drawn = cv2.LUT(drawn, self.weather.haze_table(depth))
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillConvexPoly(mask, _fixed(outline - (x0, y0)), 255, cv2.LINE_8, SUBPIXEL)
        region = self.pixels[y0:y1, x0:x1]
        if alpha is not None:
            if texture.fills_outline:
                region[..., 3][mask > 0] = texture.label
            opaque = cv2.warpPerspective(alpha, warp, size, flags=cv2.INTER_LINEAR)
            cv2.bitwise_and(mask, cv2.threshold(opaque, 127, 255, cv2.THRESH_BINARY)[1], dst=mask)
        cv2.copyTo(drawn, mask, region)

    def sprite(self, texture: Texture, foot: np.ndarray, width: float, height: float) -> None:
        """Draw an upright texture of so many metres that always faces the camera, its bottom's middle at `foot`."""
        away = foot[:2] - self.view.position[:2]
        side = np.array([away[1], -away[0], 0.0]) / (np.hypot(*away) + 1e-9) * width
        self.quad(texture, foot - side / 2 + (0, 0, height), side, np.array([0.0, 0.0, -height]))

    def color(self, color: Sequence[float] | np.ndarray, label: int, depth: float) -> tuple[float, ...]:
        """An RGB color seen through ``depth`` metres of haze, with its label, as OpenCV's drawing functions take it."""
        alpha = self.weather.haze(depth)
        haze = self.weather.haze_color
        r, g, b = (np.asarray(color) * (1 - alpha) + haze * alpha).tolist()
        return r, g, b, float(label)

    def polygon(self, points: np.ndarray, color: Sequence[float] | np.ndarray, label: int) -> None:
        """Fill a convex polygon of world points float [n, 3] with one color."""
        visible = clip_near(self.view.homogeneous(points))
        if len(visible) >= 3:
            outline = visible[:, :2] / visible[:, 2:]
            self.fill(outline, self.color(color, label, float(visible[:, 2].mean())))

    def fill(self, outline: np.ndarray, color: tuple[float, ...]) -> None:
        """Fill a convex outline of pixels float [n, 2] with a color that has its label."""
        cv2.fillConvexPoly(self.pixels, _fixed(outline), color, cv2.LINE_8, SUBPIXEL)

    def tint(self, outline: np.ndarray, color: Sequence[float], share: float, label: int | None = None) -> None:
        """Mix a share 0..1 of a color into a convex outline of pixels; without a label the labels stay as they are."""
        box = self.box(outline)
        if box is None:
            return
        x0, y0, x1, y1 = box
        table = _tint_table(tuple(color), share, label)
        region = self.pixels[y0:y1, x0:x1]
        mask = np.zeros(region.shape[:2], np.uint8)
        cv2.fillConvexPoly(mask, _fixed(outline - (x0, y0)), 255, cv2.LINE_8, SUBPIXEL)
        cv2.copyTo(cv2.LUT(np.ascontiguousarray(region), table), mask, region)

    def misses(self, foot: np.ndarray, radius: float) -> bool:
        """Whether everything within `radius` metres of the upright line through `foot` is out of the picture."""
        u, _, depth = self.view.homogeneous(foot).tolist()
        if depth < radius + NEAR:
            return depth < -radius
        reach = radius * 1.5 * self.view.camera.fx / (depth - radius)
        return not -reach < u / depth < self.width + reach

    def shadow(self, center: np.ndarray, half_length: float, half_width: float) -> None:
        """Draw a soft contact shadow on the ground around `center`; all in metres."""
        away = float((center - self.view.position) @ self.view.forward)
        if half_width * self.view.camera.fx < 6.0 * away:
            self._shadow_rings(center, half_length, half_width, _FAR_SHADOW)
        else:
            self._shadow_rings(center, half_length, half_width, _NEAR_SHADOW)

    def _shadow_rings(
        self, center: np.ndarray, half_length: float, half_width: float, rings: tuple[tuple[float, float], ...]
    ) -> None:
        growth = np.array([size for size, _ in rings])[:, None, None]
        points = np.zeros((len(rings), len(_RING), 3))
        points[..., :2] = center[:2] + growth * _RING * (half_length, half_width)
        seen = self.view.homogeneous(points.reshape(-1, 3)).reshape(points.shape)
        for outline, (_, share) in zip(seen, rings, strict=True):
            visible = clip_near(outline)
            if len(visible) >= 3:
                self.tint(visible[:, :2] / visible[:, 2:], _SHADOW_COLOR, share)

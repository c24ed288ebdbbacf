"""Limbs as tapered capsules, from which people are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from zmask_ros.data.street.canvas import SUBPIXEL, Canvas

Capsules = tuple[np.ndarray, list[list[list[int]]], list[list[int]]]

_FACING = np.array([-0.8, 0.0, 0.6])
"""Normal by which limbs are lit."""
_LIT_FROM = 2.5
"""Limbs of a smaller radius in pixels are drawn in one tone."""


@dataclass(frozen=True)
class Limb:
    """A tapered capsule between two points float [3], with radii in metres and an RGB color."""

    start: np.ndarray
    end: np.ndarray
    start_radius: float
    end_radius: float
    color: Sequence[float]


@dataclass(frozen=True, eq=False)
class Figure:
    """Limbs around a foot point at the origin, ready to be drawn anywhere.

    Attributes:
        points: both ends, float [n, 2, 3], metres.
        radii: at both ends, float [n, 2], metres.
        colors: float [n, 3], RGB.
        ranks: int [n]; lower ranks are drawn first, within a rank the far ones.
    """

    points: np.ndarray
    radii: np.ndarray
    colors: np.ndarray
    ranks: np.ndarray


def figure(layers: list[list[Limb]]) -> Figure:
    """A figure from layers of limbs, the first drawn first."""
    limbs = [limb for layer in layers for limb in layer]
    return Figure(
        points=np.array([(limb.start, limb.end) for limb in limbs]),
        radii=np.array([(limb.start_radius, limb.end_radius) for limb in limbs]),
        colors=np.array([limb.color for limb in limbs], float),
        ranks=np.repeat(np.arange(len(layers)), [len(layer) for layer in layers]),
    )


def draw_figure(canvas: Canvas, drawn: Figure, foot: np.ndarray, label: int) -> None:
    """Draw a figure that stands at `foot`, each limb with a lit side."""
    view, weather = canvas.view, canvas.weather
    seen = view.homogeneous((drawn.points + foot).reshape(-1, 3)).reshape(-1, 2, 3)
    depth = seen[..., 2]
    if depth.min() < 0.8:
        return
    order = np.lexsort((-depth.sum(axis=1), drawn.ranks))
    pixels = (seen[..., :2] / depth[..., None])[order]
    radii = (drawn.radii * view.camera.fx / depth)[order]
    base = drawn.colors[order]
    light, alpha = float(weather.shade(_FACING)), weather.haze(float(depth.mean()))
    haze = weather.haze_color * alpha
    dark = np.minimum(base * light, 255) * (1 - alpha) + haze
    shaded = _capsules(pixels, radii), _colors(dark, label)
    sizes = radii.max(axis=1)
    if sizes.max() <= _LIT_FROM:
        for index in range(len(sizes)):
            _draw_capsule(canvas, shaded, index)
        return
    bright = np.minimum(base * light * 1.17, 255) * (1 - alpha) + haze
    sunward = np.array((-0.35 * float(np.sign(weather.sun[1])), 0.0))
    lit = _capsules(pixels + sunward * sizes[:, None, None], radii * 0.55), _colors(bright, label)
    for index, size in enumerate(sizes):
        _draw_capsule(canvas, shaded, index)
        if size > _LIT_FROM:
            _draw_capsule(canvas, lit, index)


def _colors(colors: np.ndarray, label: int) -> list[tuple[float, ...]]:
    return [(r, g, b, float(label)) for r, g, b in colors.tolist()]


def _capsules(ends: np.ndarray, radii: np.ndarray) -> Capsules:
    """Capsules float [n, 2, 2] as fixed-point outlines int32 [n, 4, 2], centers and radii of the round ends."""
    along = ends[:, 1] - ends[:, 0]
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 0.3)[:, None]
    side = np.column_stack([-along[:, 1], along[:, 0]]) / length
    out = side[:, None] * radii[..., None]
    outlines = np.stack(
        [ends[:, 0] + out[:, 0], ends[:, 1] + out[:, 1], ends[:, 1] - out[:, 1], ends[:, 0] - out[:, 0]]
    )
    scale = 1 << SUBPIXEL
    fixed = np.rint(outlines.transpose(1, 0, 2) * scale).astype(np.int32, order="C")
    return fixed, (ends * scale).astype(int).tolist(), (radii * scale).astype(int).tolist()


def _draw_capsule(canvas: Canvas, drawn: tuple[Capsules, list[tuple[float, ...]]], index: int) -> None:
    (outlines, centers, radii), colors = drawn
    color = colors[index]
    cv2.fillConvexPoly(canvas.pixels, outlines[index], color, cv2.LINE_8, SUBPIXEL)
    for center, radius in zip(centers[index], radii[index], strict=True):
        if radius > 16:
            cv2.circle(canvas.pixels, center, radius, color, -1, cv2.LINE_8, SUBPIXEL)

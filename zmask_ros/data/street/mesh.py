"""Meshes of flat, shaded faces, drawn in a fixed order; those that face away are left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zmask_ros.data.street.canvas import Canvas, clip_near
from zmask_ros.data.street.weather import Weather

Triple = Sequence[float] | np.ndarray
Points = Sequence[Sequence[float]] | np.ndarray
Face = tuple[np.ndarray, np.ndarray, np.ndarray, float]


class Mesh:
    """Flat faces with colors, in the order in which they are drawn; lengths are in metres."""

    def __init__(self) -> None:
        self._faces: list[Face] = []

    def add(self, points: Points, color: Triple, normal: Triple, detail: float = 0.0) -> None:
        """Add a convex face; one with a size `detail` in metres is left out where that is too small on the screen."""
        unit = np.asarray(normal, float) / np.linalg.norm(np.asarray(normal, float))
        self._faces.append((np.asarray(points, float), np.asarray(color, float), unit, detail))

    def strip(
        self, start: Triple, end: Triple, widths: tuple[float, float], color: Triple, detail: float = 0.0
    ) -> None:
        """Add the face between two points (x, z) of a side view, over the whole width at either."""
        (x0, z0), (x1, z1) = start, end
        a, b = widths[0] / 2, widths[1] / 2
        points = [(x0, a, z0), (x0, -a, z0), (x1, -b, z1), (x1, b, z1)]
        self.add(points, color, (z0 - z1, 0.0, x1 - x0), detail)

    def both_sides(self, profile: Points, y0: float, y1: float, color: Triple, detail: float = 0.0) -> None:
        """Add a face of the side view (x, z) on both sides; `y0` at its lowest point, `y1` at its highest."""
        profile = np.asarray(profile, float)
        low, high = profile[:, 1].min(), profile[:, 1].max()
        y = y0 + (y1 - y0) * (profile[:, 1] - low) / max(high - low, 1e-6)
        lean = (y0 - y1) / max(high - low, 1e-6)
        for side in (-1.0, 1.0):
            points = np.column_stack([profile[:, 0], side * y, profile[:, 1]])
            self.add(points, color, (0.0, side, lean), detail)

    def placed(self, yaw: float, weather: Weather) -> PlacedMesh:
        """The mesh turned by `yaw`, radians, and lit."""
        return PlacedMesh(self._faces, yaw, weather)


class PlacedMesh:
    """A mesh with heading and light, to be drawn anywhere."""

    def __init__(self, faces: list[Face], yaw: float, weather: Weather) -> None:
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
        self._points = np.concatenate([points for points, *_ in faces]) @ turn.T
        ends = np.cumsum([len(points) for points, *_ in faces])
        self._spans = list(zip([0, *ends[:-1]], ends, strict=True))
        self._normals = np.array([normal for _, _, normal, _ in faces]) @ turn.T
        self._anchors = self._points[[start for start, _ in self._spans]]
        light = weather.shade(self._normals)
        self._colors = np.clip(np.array([color for _, color, *_ in faces]) * light[:, None], 0, 255)
        self._details = np.array([detail for *_, detail in faces])

    def draw(self, canvas: Canvas, center: np.ndarray, label: int) -> None:
        """Draw the mesh with its middle on the ground at `center`."""
        view = canvas.view
        seen = view.homogeneous(self._points + center)
        if seen[:, 2].max() < 1.0:
            return
        depth = max(1.0, float((center - view.position) @ view.forward))
        facing = ((view.position - center - self._anchors) * self._normals).sum(axis=1) > 0
        large = (self._details == 0) | (self._details * view.camera.fx / depth > 1.5)
        alpha = canvas.weather.haze(depth)
        colors = self._colors * (1 - alpha) + canvas.weather.haze_color * alpha
        clipped = seen[:, 2].min() < 0.5
        flat = None if clipped else seen[:, :2] / seen[:, 2:]
        for index in np.flatnonzero(facing & large):
            start, end = self._spans[index]
            if flat is None:
                part = clip_near(seen[start:end])
                if len(part) < 3:
                    continue
                outline = part[:, :2] / part[:, 2:]
            else:
                outline = flat[start:end]
            r, g, b = colors[index].tolist()
            canvas.fill(outline, (r, g, b, float(label)))

"""Light and weather of a drive, its sky, and what lens and sensor make of the picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from zmask_ros.data.street.labels import Label
from zmask_ros.data.street.view import CameraIntrinsics, View
from zmask_ros.data.textures.noise import fractal, to_bytes

KINDS = ("sunny", "overcast", "dusk", "rain", "hazy")
_HAZE_STEPS = 48


@dataclass(frozen=True)
class Weather:
    """Light, air and exposure of one drive; colors are RGB, 0 to 255.

    Attributes:
        kind: one of `KINDS`.
        sun: float [3], unit vector to the sun.
        ambient: light on a face that the sun does not reach.
        direct: what the sun adds at right angles.
        haze_color: color of the haze, float32 [3].
        haze_length: metres after which 63 % of a color is the haze's.
        zenith: color of the sky overhead, float32 [3].
        clouds: cover of the sky, 0 to about 1.
        gain: exposure of each channel, float [3].
        gamma: exponent of the exposure.
        noise: standard deviation of the sensor's noise, 0 to 255.
        blur: standard deviation of the lens's blur, pixels.
    """

    kind: str
    sun: np.ndarray
    ambient: float
    direct: float
    haze_color: np.ndarray
    haze_length: float
    zenith: np.ndarray
    clouds: float
    gain: np.ndarray
    gamma: float
    noise: float
    blur: float
    _tables: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def wet(self) -> bool:
        """Whether the street is wet."""
        return self.kind == "rain"

    @property
    def lamps(self) -> bool:
        """Whether lamps and some windows are lit."""
        return self.kind in ("dusk", "rain")

    def shade(self, normals: np.ndarray) -> np.ndarray:
        """Brightness of faces with unit normals float [..., 3]: about 0.5 to 1.2."""
        sky = 0.85 + 0.15 * normals[..., 2]
        return self.ambient * sky + self.direct * np.maximum(normals @ self.sun, 0.0)

    def haze(self, depth: float) -> float:
        """Share of the haze's color at a distance in metres, 0 to 0.9."""
        return min(0.9, 1.0 - float(np.exp(-max(depth - 4.0, 0.0) / self.haze_length)))

    def haze_table(self, depth: float) -> np.ndarray:
        """Lookup table uint8 [256, 1, 4] that lays the haze over color and leaves labels alone."""
        step = round(self.haze(depth) * _HAZE_STEPS)
        if step not in self._tables:
            alpha = step / _HAZE_STEPS
            levels = np.arange(256, dtype=np.float32)[:, None]
            table = np.empty((256, 1, 4), np.uint8)
            table[:, 0, :3] = to_bytes(levels * (1 - alpha) + self.haze_color * alpha)
            table[:, 0, 3] = np.arange(256)
            self._tables[step] = table
        return self._tables[step]


def draw_weather(rng: np.random.Generator) -> Weather:
    """Random weather for a drive."""
    kind = str(rng.choice(KINDS, p=(0.34, 0.26, 0.12, 0.14, 0.14)))
    side, height = rng.choice((-1.0, 1.0)), rng.uniform(0.7, 1.3)
    sun = np.array([rng.uniform(-0.9, 0.6), side * rng.uniform(0.5, 1.0), height])
    look = {
        "sunny": (0.62, 0.58, (196, 212, 228), 420.0, (92, 148, 214), 0.5, (1.06, 1.03, 0.98)),
        "overcast": (0.92, 0.1, (205, 208, 212), 300.0, (176, 184, 194), 0.9, (0.95, 0.97, 1.0)),
        "dusk": (0.62, 0.24, (206, 168, 146), 300.0, (92, 108, 152), 0.6, (0.8, 0.72, 0.7)),
        "rain": (0.78, 0.05, (168, 174, 182), 150.0, (140, 147, 157), 0.8, (0.82, 0.85, 0.9)),
        "hazy": (0.86, 0.16, (212, 213, 214), 85.0, (188, 198, 212), 0.4, (1.0, 0.99, 0.98)),
    }[kind]
    ambient, direct, haze, length, zenith, clouds, gain = look
    return Weather(
        kind=kind,
        sun=sun / np.linalg.norm(sun),
        ambient=ambient,
        direct=direct,
        haze_color=np.array(haze, np.float32) + rng.uniform(-10, 10),
        haze_length=length * rng.uniform(0.8, 1.3),
        zenith=np.array(zenith, np.float32) + rng.uniform(-12, 12) + rng.uniform(-5, 5, 3),
        clouds=clouds * rng.uniform(0.5, 1.2),
        gain=np.array(gain) * rng.uniform(0.9, 1.1) * rng.uniform(0.985, 1.015, 3),
        gamma=rng.uniform(0.88, 1.12),
        noise=rng.uniform(1.5, 4.0),
        blur=rng.uniform(0.45, 0.75),
    )


class Sky:
    """A painted sky, larger than the picture, that follows the camera's heading and pitch."""

    def __init__(self, rng: np.random.Generator, weather: Weather, camera: CameraIntrinsics) -> None:
        height, width = camera.height + 2, camera.width + 2 * int(0.25 * camera.fx)
        up = np.linspace(1.0, 0.0, height, dtype=np.float32)[:, None, None]
        color = weather.haze_color * (1 - up**0.6) + weather.zenith * up**0.6
        field = fractal(rng, height, width, (5, 3), 5)
        cover = np.clip((field + 1.6 * weather.clouds - 0.9) * 0.7, 0, 1)[..., None]
        cover = cover * np.clip(weather.clouds + 0.2, 0, 0.9) * (0.25 + 0.75 * np.minimum(1, up * 3))
        lit = np.clip(0.86 + 0.08 * cv2.blur(field, (1, 31)), 0.6, 1.05)[..., None]
        cloud = (weather.haze_color * 0.4 + 150.0) * lit
        self._pixels = np.zeros((height, width, 4), np.uint8)
        self._pixels[..., :3] = to_bytes(color * (1 - cover) + cloud * cover)
        self._pixels[..., 3] = Label.SKY

    def draw(self, pixels: np.ndarray, view: View) -> None:
        """Fill uint8 [h, w, 4] down to the horizon, and below it with the horizon's color."""
        height, width = pixels.shape[:2]
        rows, columns = self._pixels.shape[:2]
        yaw = np.arctan2(view.forward[1], view.forward[0])
        left = int(np.clip((columns - width) / 2 - view.camera.fx * np.tan(yaw), 0, columns - width))
        horizon = int(np.clip(view.horizon_row() + 1, 0, height))
        pixels[:horizon] = self._pixels[rows - horizon :, left : left + width]
        pixels[horizon:] = self._pixels[-1:, left : left + width]


class Photo:
    """Exposure, blur and noise: the way from the canvas to the camera's picture."""

    def __init__(self, rng: np.random.Generator, weather: Weather, camera: CameraIntrinsics) -> None:
        levels = np.arange(256, dtype=np.float64)[:, None] / 255
        curve = to_bytes(255 * np.clip(levels * weather.gain, 0, 1) ** weather.gamma)
        self._curve = np.ascontiguousarray(curve.reshape(256, 1, 3))
        self._blur = weather.blur
        self._rain = weather.wet
        shape = camera.height + 61, camera.width + 67, 3
        grain = rng.standard_normal(shape, dtype=np.float32) * weather.noise
        self._grain = to_bytes(grain + 128)
        self._seed = int(rng.integers(1 << 31))

    def develop(self, pixels: np.ndarray, index: int) -> np.ndarray:
        """Canvas uint8 [h, w, 4] to picture uint8 [h, w, 3]; the noise depends on the frame's index alone."""
        rng = np.random.default_rng((self._seed, index))
        image = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
        if self._rain:
            _streaks(image, rng)
        image = cv2.GaussianBlur(image, (3, 3), self._blur)
        image = cv2.LUT(image, self._curve)
        down, across = int(rng.integers(61)), int(rng.integers(67))
        grain = self._grain[down : down + image.shape[0], across : across + image.shape[1]]
        return cv2.addWeighted(image, 1.0, grain, 1.0, -128.0)


def _streaks(image: np.ndarray, rng: np.random.Generator) -> None:
    height, width = image.shape[:2]
    starts = rng.uniform(0, 1, (50, 2)) * (width, height)
    for x, y in starts:
        length = rng.uniform(0.01, 0.035) * height
        end = int(x - 0.1 * length), int(y + length)
        row, column = min(height - 1, int(y)), min(width - 1, int(x))
        color = [float(c) for c in image[row, column] * 0.72 + 55.0]
        cv2.line(image, (int(x), int(y)), end, color, 1)

"""A drive through a street: frames by index, each of which follows from the seed and its time alone."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from zmask_ros.data.street.builder import BILLBOARD_SPACING, StreetBuilder, draw_street
from zmask_ros.data.street.canvas import Canvas, Texture
from zmask_ros.data.street.crowd import Crowd
from zmask_ros.data.street.ground import FAR, GroundPainter, backdrop
from zmask_ros.data.street.labels import FINAL_LABELS, Label
from zmask_ros.data.street.scenery import Billboard
from zmask_ros.data.street.thing import PERIOD, Thing
from zmask_ros.data.street.vehicles import TRUCK, Vehicle, truck_mesh
from zmask_ros.data.street.view import CameraIntrinsics, Motion, View
from zmask_ros.data.street.weather import Photo, Sky, draw_weather
from zmask_ros.data.textures import foliage
from zmask_ros.data.textures.adverts import advert
from zmask_ros.data.textures.noise import to_bytes
from zmask_ros.errors import ZmaskError

CARRIERS = (None, "billboard", "truck")
_START_NS = 1_000_000_000
"""Time of the first frame, nanoseconds."""
_BEHIND = 8.0
"""Metres behind the camera up to which things count as being here rather than a period ahead."""
_TRUCK_PANEL = 2.5, 2.7, 0.98
"""Width, height and bottom of the picture on a truck's rear, metres."""


@dataclass(frozen=True)
class StreetFrame:
    """One moment of a drive.

    Attributes:
        index: number of the frame.
        stamp_ns: its time, nanoseconds.
        image: uint8 [h, w, 3], RGB.
        labels: uint8 [h, w], CamVid's ids 0 to 10.
        pose: float64 [4, 4], camera (x right, y down, z forward) to world (x along the street, y left, z up), metres.
        patch_mask: bool [h, w], where the picture is seen.
        patch_corners: float64 [4, 2] px (x, y) of the largest panel that shows it: the picture's top left, top right,
            bottom right, bottom left; may lie outside of the image; None where the picture is not shown.
    """

    index: int
    stamp_ns: int
    image: np.ndarray
    labels: np.ndarray
    pose: np.ndarray
    patch_mask: np.ndarray
    patch_corners: np.ndarray | None


class StreetDrive:
    """A street seen from a car that drives along it; frames come in any order and are always the same.

    Args:
        seed: everything follows from it, >= 0.
        duration_s: length of the drive, seconds, > 0.
        rate_hz: frames a second, > 0.
        width, height: size of the images, px, >= 64 and >= 48.
        carrier: None, "billboard" (7.4 m x 3.7 m panels beside the road) or "truck" (the rear of one ahead).
        picture: what the carrier shows, uint8 [h, w, 3] RGB; None leaves it its advertisement.
        picture_from_s, picture_until_s: when it shows the picture, seconds; before and after, its advertisement.

    Attributes:
        camera: intrinsics.
        motion: of the camera.
        weather: of the whole drive.
        things: all that stands and moves in the street.

    Raises:
        ZmaskError: if an argument is out of its range.
    """

    def __init__(
        self,
        seed: int,
        duration_s: float = 20.0,
        rate_hz: float = 15.0,
        width: int = 640,
        height: int = 480,
        carrier: str | None = None,
        picture: np.ndarray | None = None,
        picture_from_s: float = 0.0,
        picture_until_s: float = float("inf"),
    ) -> None:
        _check(seed, duration_s, rate_hz, width, height, carrier, picture)
        self.seed, self.rate_hz, self.carrier = seed, float(rate_hz), carrier
        self._count = max(1, round(duration_s * rate_hz))
        self._interval = picture_from_s, picture_until_s
        self._streams = iter(np.random.SeedSequence(seed).spawn(12))
        focal = self._rng().uniform(0.78, 0.94) * max(width, 1.2 * height)
        self.camera = CameraIntrinsics(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
        self.weather = draw_weather(self._rng())
        self._sky = Sky(self._rng(), self.weather, self.camera)
        self._photo = Photo(self._rng(), self.weather, self.camera)
        self._prepare_carrier(self._rng(), picture)
        self._build(self._rng(), self._rng(), self._rng())
        self._backdrop = self._far_end(self._rng())

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(next(self._streams))

    def _prepare_carrier(self, rng: np.random.Generator, picture: np.ndarray | None) -> None:
        label = Label.PICTURE_ON_TRUCK if self.carrier == "truck" else Label.PICTURE_ON_BILLBOARD
        self._picture_label = label
        light = np.float32(self.weather.shade(np.array([-1.0, 0.0, 0.0])))
        self._picture = None if picture is None else Texture(to_bytes(picture * light), label)
        size = (500, 540) if self.carrier == "truck" else (888, 444)
        self._advert = Texture(to_bytes(advert(rng, *size) * light), int(FINAL_LABELS[label]))

    def _build(
        self, plan_rng: np.random.Generator, ground_rng: np.random.Generator, motion_rng: np.random.Generator
    ) -> None:
        street = draw_street(plan_rng)
        speed = {None: (5.0, 10.0), "billboard": (4.2, 5.2), "truck": (5.0, 9.0)}[self.carrier]
        self.motion = Motion(motion_rng, -street.lane / 2, speed)
        painter = GroundPainter(ground_rng, street, self.weather)
        painter.paint()
        builder = StreetBuilder(plan_rng, street, self.weather, painter)
        self._board = Billboard(-1, street.kerb + 0.4) if self.carrier == "billboard" else None
        builder.build_sides(self._board)
        builder.furnish(self._board)
        crowd = Crowd(plan_rng, street, self.weather)
        crowd.populate(self.motion.travelled, self.carrier is None and plan_rng.random() < 0.7)
        self._places: list[float] = []
        if self._board is not None:
            self._places = builder.add_billboards(self._draw_board)
        self.things = builder.things + crowd.things
        if self.carrier == "truck":
            self._add_truck(plan_rng)
        self._ground = painter.finish()

    def _add_truck(self, rng: np.random.Generator) -> None:
        self._truck = Vehicle(truck_mesh(rng, self.weather.lamps), TRUCK, 0.0, self.weather, moving=True)
        self._gap = float(rng.uniform(0, 6.28))
        self.things.append(Thing(lambda t: self._truck_rear(t) + TRUCK.half_length, self._draw_truck, 9.0))

    def _truck_rear(self, seconds: float) -> float:
        return self.motion.travelled(seconds) + 10.5 + 3.3 * np.sin(0.45 * seconds + self._gap)

    def _far_end(self, rng: np.random.Generator) -> list[tuple[Texture, float, float]]:
        houses, trees = foliage.skyline(rng), foliage.treeline(rng)
        return [
            (Texture(houses[0], Label.BUILDING, houses[1]), 110.0, float(rng.uniform(12, 22))),
            (Texture(trees[0], Label.TREE, trees[1]), 120.0, float(rng.uniform(5, 13))),
        ]

    def _shown(self, seconds: float) -> Texture:
        start, end = self._interval
        return self._picture if self._picture is not None and start <= seconds < end else self._advert

    def _draw_board(self, canvas: Canvas, x: float, seconds: float) -> None:
        assert self._board is not None
        self._board.draw(canvas, x, self._shown(seconds))

    def _truck_panel(self, rear: float) -> np.ndarray:
        width, height, bottom = _TRUCK_PANEL
        left, y = rear - 0.02, self.motion.lane
        top = bottom + height
        return np.array(
            [
                (left, y + width / 2, top),
                (left, y - width / 2, top),
                (left, y - width / 2, bottom),
                (left, y + width / 2, bottom),
            ]
        )

    def _draw_truck(self, canvas: Canvas, x: float, seconds: float) -> None:
        self._truck.draw(canvas, x, self.motion.lane)
        corners = self._truck_panel(x - TRUCK.half_length)
        canvas.quad(self._shown(seconds), corners[0], corners[1] - corners[0], corners[3] - corners[0])

    def panels(self, seconds: float) -> list[np.ndarray]:
        """Corners float64 [4, 3], in world metres, of every panel near the camera, ordered as `patch_corners`."""
        here = self.motion.travelled(seconds)
        if self._board is not None:
            nearest = (here + ((x - here + _BEHIND) % PERIOD) - _BEHIND for x in self._places)
            return [self._board.panel(x) for x in nearest if x - here < 2 * BILLBOARD_SPACING]
        return [self._truck_panel(self._truck_rear(seconds))] if self.carrier == "truck" else []

    def stamp_ns(self, index: int) -> int:
        """The time of a frame, nanoseconds."""
        return _START_NS + round(index * 1e9 / self.rate_hz)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[StreetFrame]:
        return (self[index] for index in range(self._count))

    def __getitem__(self, index: int) -> StreetFrame:
        number = operator.index(index)
        if not -self._count <= number < self._count:
            raise IndexError(f"frame {number} of a drive of {self._count}")
        number %= self._count
        seconds = number / self.rate_hz
        pose = self.motion.pose(seconds)
        canvas = Canvas(View(self.camera, pose), self.weather)
        self._paint(canvas, seconds)
        drawn = canvas.pixels[..., 3]
        mask = drawn == self._picture_label
        return StreetFrame(
            index=number,
            stamp_ns=self.stamp_ns(number),
            image=self._photo.develop(canvas.pixels, number),
            labels=cv2.LUT(np.ascontiguousarray(drawn), FINAL_LABELS),
            pose=pose,
            patch_mask=mask,
            patch_corners=self._corners(canvas, seconds) if mask.any() else None,
        )

    def _paint(self, canvas: Canvas, seconds: float) -> None:
        self._sky.draw(canvas.pixels, canvas.view)
        backdrop(self._backdrop, canvas)
        self._ground.draw(canvas)
        here = float(canvas.view.position[0])
        queue = []
        for order, thing in enumerate(self.things):
            ahead = (thing.at(seconds) - here + _BEHIND) % PERIOD - _BEHIND
            if ahead - thing.length < thing.far and ahead > -5.0:
                queue.append((ahead, order, thing))
        for ahead, _, thing in sorted(queue, key=lambda entry: (-entry[0], entry[1])):
            thing.draw(canvas, here + ahead, seconds)

    def _corners(self, canvas: Canvas, seconds: float) -> np.ndarray | None:
        """The corners of the panel that is largest on the screen."""
        best, best_area = None, 0.0
        for panel in self.panels(seconds):
            seen = canvas.view.homogeneous(panel)
            if seen[:, 2].min() < 0.5 or seen[:, 2].max() > 2 * FAR:
                continue
            corners = seen[:, :2] / seen[:, 2:]
            area = cv2.contourArea(corners.astype(np.float32))
            if canvas.box(corners) is not None and area > best_area:
                best, best_area = corners, area
        return best


def _check(
    seed: int,
    duration_s: float,
    rate_hz: float,
    width: int,
    height: int,
    carrier: str | None,
    picture: np.ndarray | None,
) -> None:
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ZmaskError(f"The seed of a street drive is {seed!r}; give a whole number of 0 or more.")
    for name, value in (("duration_s", duration_s), ("rate_hz", rate_hz)):
        if not 0 < value < float("inf"):
            raise ZmaskError(f"{name} of a street drive is {value}; give a finite number above 0.")
    if width < 64 or height < 48:
        raise ZmaskError(f"A street drive of {width}x{height} is too small; give at least 64x48.")
    if carrier not in CARRIERS:
        raise ZmaskError(f"There is no carrier {carrier!r}; choose billboard, truck or none.")
    if picture is None:
        return
    if carrier is None:
        raise ZmaskError("A picture needs a carrier; choose billboard or truck.")
    if getattr(picture, "dtype", None) != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ZmaskError("The picture must be a uint8 RGB array of height x width x 3.")

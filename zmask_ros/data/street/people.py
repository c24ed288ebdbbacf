"""Pedestrians and bicyclists: limbs as tapered capsules on a skeleton that walks or pedals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from zmask_ros.data.street.canvas import Canvas
from zmask_ros.data.street.labels import Label
from zmask_ros.data.street.limbs import Figure, Limb, draw_figure, figure
from zmask_ros.data.street.view import vec

Color = tuple[int, int, int]

_SKIN = ((226, 186, 158), (196, 150, 116), (140, 98, 70), (96, 66, 48))
_HAIR = ((40, 30, 24), (92, 66, 40), (176, 144, 88), (120, 118, 116), (24, 22, 22))
_TOPS = (
    (176, 40, 44),
    (40, 66, 130),
    (52, 54, 60),
    (222, 218, 206),
    (206, 156, 44),
    (64, 110, 78),
    (120, 70, 120),
    (214, 120, 60),
    (92, 140, 176),
    (98, 78, 60),
)
_TROUSERS = ((38, 46, 74), (44, 42, 44), (96, 84, 66), (70, 74, 82), (28, 30, 36))
_STEPS = 32
"""Moments of a gait; each is posed once."""
_SHOES = (34.0, 30.0, 28.0)
_BIKES = ((160, 32, 34), (36, 40, 44), (40, 90, 140), (196, 196, 196), (60, 120, 70))


@dataclass(frozen=True)
class Looks:
    """What a person looks like.

    Attributes:
        skin, hair, top, trousers, bike: RGB colors.
        height: metres.
        phase: of the stride, radians.
        bag: whether one is carried.
        skirt: whether one is worn.
    """

    skin: Color
    hair: Color
    top: Color
    trousers: Color
    bike: Color
    height: float
    phase: float
    bag: bool
    skirt: bool


def draw_looks(rng: np.random.Generator) -> Looks:
    """A random person's looks."""

    def one(palette: Sequence[Color]) -> Color:
        return palette[int(rng.integers(len(palette)))]

    return Looks(
        one(_SKIN),
        one(_HAIR),
        one(_TOPS),
        one(_TROUSERS),
        one(_BIKES),
        float(rng.uniform(1.58, 1.86)),
        float(rng.uniform(0, 6.28)),
        bool(rng.random() < 0.4),
        bool(rng.random() < 0.25),
    )


def _shaded(color: Sequence[float], factor: float) -> tuple[float, float, float]:
    r, g, b = (min(255.0, c * factor) for c in color)
    return r, g, b


def _head(looks: Looks, neck: np.ndarray, ahead: np.ndarray) -> list[Limb]:
    crown = neck + vec(0, 0, 0.2)
    back = -0.04 * ahead + vec(0.0, 0.0, 0.045)
    return [
        Limb(neck, crown, 0.055, 0.1, looks.skin),
        Limb(crown + back, crown + back * 1.3, 0.105, 0.1, looks.hair),
    ]


def _bend(
    start: np.ndarray, first: float, second: float, lengths: tuple[float, float], ahead: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Middle and end of a two-part limb hanging from `start`; angles from straight down, forward positive."""
    middle = start + lengths[0] * (np.sin(first) * ahead - vec(0.0, 0.0, np.cos(first)))
    return middle, middle + lengths[1] * (np.sin(second) * ahead - vec(0.0, 0.0, np.cos(second)))


def draw_pedestrian(canvas: Canvas, looks: Looks, at: np.ndarray, yaw: float, stride: float) -> None:
    """Draw a person walking.

    Args:
        canvas: what to draw on.
        looks: colors and size.
        at: (x, y) on the ground, metres.
        yaw: where to, radians; 0 is away along the street, pi towards the camera.
        stride: phase of the gait, radians.
    """
    foot = np.array([at[0], at[1], 0.0])
    if canvas.misses(foot, 1.0):
        return
    canvas.shadow(foot, 0.32, 0.32)
    step = round((stride + looks.phase) / (2 * np.pi) * _STEPS) % _STEPS
    draw_figure(canvas, _walker(looks, yaw, step), foot, Label.PEDESTRIAN)


@lru_cache(maxsize=4096)
def _walker(looks: Looks, yaw: float, step: int) -> Figure:
    size = looks.height / 1.75
    phase = 2 * np.pi * step / _STEPS
    ahead, left = np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    hip = vec(0.0, 0.0, (0.9 + 0.015 * np.cos(2 * phase)) * size)
    shoulder = hip + 0.03 * ahead + vec(0.0, 0.0, 0.5 * size)
    limbs = []
    for side, swing in ((-1.0, np.sin(phase)), (1.0, -np.sin(phase))):
        bent = 0.5 * swing - 0.35 * max(0.0, 0.3 - swing)
        root = hip + side * 0.1 * left
        knee, ankle = _bend(root, 0.5 * swing, bent, (0.44 * size, 0.42 * size), ahead)
        limbs.append(Limb(root, knee, 0.095, 0.075, looks.trousers))
        limbs.append(Limb(knee, ankle, 0.07, 0.055, looks.trousers))
        limbs.append(Limb(ankle, ankle + 0.14 * ahead - vec(0.0, 0.0, 0.03), 0.055, 0.05, _SHOES))
        top = shoulder + side * 0.2 * left - vec(0.0, 0.0, 0.03)
        elbow, hand = _bend(top, -0.45 * swing, -0.4 * swing + 0.25, (0.28 * size, 0.25 * size), ahead)
        limbs.append(Limb(top, elbow, 0.065, 0.055, _shaded(looks.top, 0.88)))
        limbs.append(Limb(elbow, hand, 0.052, 0.042, _shaded(looks.top, 0.88)))
        limbs.append(Limb(hand, hand - vec(0.0, 0.0, 0.05), 0.045, 0.04, looks.skin))
    body = [_flank(hip, shoulder, side * left, looks) for side in (-1.0, 1.0)]
    if looks.skirt:
        body.append(Limb(hip, hip - vec(0, 0, 0.3), 0.17, 0.22, looks.top))
    layers = [limbs, body, _head(looks, shoulder + vec(0, 0, 0.07), ahead)]
    if looks.bag and ahead[0] > -0.5:
        pack = shoulder - 0.16 * ahead - vec(0.0, 0.0, 0.1)
        layers.append([Limb(pack, pack - vec(0, 0, 0.28), 0.14, 0.15, looks.bike)])
    return figure(layers)


def _flank(hip: np.ndarray, shoulder: np.ndarray, out: np.ndarray, looks: Looks) -> Limb:
    """One half of the trunk; `out` points to its side, length 1."""
    return Limb(hip + 0.045 * out, shoulder + 0.09 * out - vec(0, 0, 0.04), 0.125, 0.115, looks.top)


def _wheel(canvas: Canvas, center: np.ndarray, radius: float) -> None:
    """Draw a tyre and a disc that is half seen through; all of it has the bicyclist's label."""
    angle = np.linspace(0, 2 * np.pi, 19)[:-1]
    rim = center + radius * np.column_stack([np.cos(angle), 0 * angle, np.sin(angle)])
    seen = canvas.view.homogeneous(np.vstack([rim, center]))
    if seen[:, 2].min() < 0.8:
        return
    flat, depth = seen[:, :2] / seen[:, 2:], float(seen[-1, 2])
    thickness = max(2, round(0.06 * canvas.view.camera.fx / depth))
    canvas.tint(flat[:-1], (70, 70, 74), 0.4, Label.BICYCLIST)
    points = np.rint(flat[:-1]).astype(np.int32)
    if np.abs(points).max() < 1 << 14:
        cv2.polylines(canvas.pixels, [points], True, canvas.color((26, 26, 28), Label.BICYCLIST, depth), thickness)


def draw_bicyclist(canvas: Canvas, looks: Looks, at: np.ndarray, heading: float, turn: float) -> None:
    """Draw somebody on a bicycle along the street.

    Args:
        canvas: what to draw on.
        looks: colors and size.
        at: (x, y) on the ground, metres.
        heading: 1 away along the street, -1 towards the camera.
        turn: phase of the pedals, radians.
    """
    foot = np.array([at[0], at[1], 0.0])
    if canvas.misses(foot, 1.5):
        return
    canvas.shadow(foot, 0.95, 0.22)
    near = -0.52 if heading > 0 else -0.55
    _wheel(canvas, foot + vec(near + 1.07, 0, 0.34), 0.34)
    step = round((turn + looks.phase) / (2 * np.pi) * _STEPS) % _STEPS
    draw_figure(canvas, _rider(looks, heading, step), foot, Label.BICYCLIST)
    _wheel(canvas, foot + vec(near, 0, 0.34), 0.34)
    draw_figure(canvas, _tail(near, heading), foot, Label.BICYCLIST)


@lru_cache(maxsize=4096)
def _rider(looks: Looks, heading: float, step: int) -> Figure:
    limbs = _bicycle(looks, heading) + _rider_limbs(looks, heading, 2 * np.pi * step / _STEPS)
    hip, shoulder = vec(-0.2 * heading, 0, 1.06), vec(0.12 * heading, 0, 1.5)
    torso = [_flank(hip, shoulder, vec(0.0, side, 0.0), looks) for side in (-1.0, 1.0)]
    ahead = vec(heading, 0.0, 0.0)
    neck, hair = _head(looks, shoulder + 0.08 * ahead + vec(0, 0, 0.06), ahead)
    helmet = Limb(hair.start + vec(0, 0, 0.03), hair.end + vec(0, 0, 0.03), 0.125, 0.12, _shaded(looks.bike, 1.2))
    return figure([limbs, torso, [neck, helmet]])


@lru_cache(maxsize=4)
def _tail(near: float, heading: float) -> Figure:
    """The near wheel's tyre, which seen from the end is all of a bicycle, and the lamp above it."""
    wheel, lamp = vec(near, 0, 0.34), vec(near - 0.05, 0, 0.76)
    glow = (200.0, 20.0, 20.0) if heading > 0 else (250.0, 250.0, 230.0)
    tyre = Limb(wheel - vec(0, 0, 0.3), wheel + vec(0, 0, 0.3), 0.04, 0.04, (26.0, 26.0, 28.0))
    return figure([[tyre, Limb(lamp, lamp + vec(0, 0, 0.02), 0.05, 0.05, glow)]])


def _bicycle(looks: Looks, heading: float) -> list[Limb]:
    """Frame, handlebars and saddle; panniers for those who carry a bag."""

    def spot(ahead: float, up: float, side: float = 0.0) -> np.ndarray:
        return vec(heading * ahead, side, up)

    black = (30.0, 30.0, 32.0)
    parts = [
        Limb(spot(-0.22, 0.98), spot(-0.05, 0.3), 0.035, 0.035, looks.bike),
        Limb(spot(0.38, 0.9), spot(-0.05, 0.3), 0.035, 0.035, looks.bike),
        Limb(spot(-0.2, 0.85), spot(0.38, 0.9), 0.035, 0.035, looks.bike),
        Limb(spot(0.55, 0.34), spot(0.42, 1.05), 0.035, 0.035, looks.bike),
        Limb(spot(-0.52, 0.34), spot(-0.2, 0.8), 0.03, 0.03, looks.bike),
        Limb(spot(0.42, 1.05, -0.27), spot(0.42, 1.05, 0.27), 0.03, 0.03, black),
        Limb(spot(-0.22, 0.98), spot(-0.06, 1.0), 0.07, 0.05, black),
    ]
    if looks.bag:
        for side in (-0.14, 0.14):
            parts.append(Limb(spot(-0.55, 0.72, side), spot(-0.55, 0.5, side), 0.1, 0.11, _shaded(looks.bike, 0.8)))
    return parts


def _rider_limbs(looks: Looks, heading: float, turn: float) -> list[Limb]:
    hip, shoulder = vec(-0.2 * heading, 0, 1.06), vec(0.12 * heading, 0, 1.5)
    crank, bars = vec(-0.05 * heading, 0, 0.3), vec(0.42 * heading, 0, 1.05)
    sleeve = _shaded(looks.top, 0.88)
    limbs = []
    for side, phase in ((-1.0, turn), (1.0, turn + np.pi)):
        pedal = crank + np.array([0.17 * np.cos(phase), side * 0.12, 0.17 * np.sin(phase)])
        knee = 0.5 * (hip + pedal) + vec(heading * 0.2, side * 0.1, 0.1)
        limbs.append(Limb(hip + vec(0, side * 0.1, 0), knee, 0.1, 0.08, looks.trousers))
        limbs.append(Limb(knee, pedal, 0.072, 0.055, looks.trousers))
        limbs.append(Limb(pedal, pedal + vec(heading * 0.14, 0, -0.02), 0.055, 0.05, _SHOES))
        elbow = shoulder + vec(heading * 0.12, side * 0.27, -0.28)
        limbs.append(Limb(shoulder + vec(0, side * 0.19, 0), elbow, 0.065, 0.055, sleeve))
        limbs.append(Limb(elbow, bars + vec(0, side * 0.25, 0.03), 0.052, 0.045, sleeve))
    return limbs

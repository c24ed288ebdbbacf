"""A thing: the part of a street that is drawn at one time and place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zmask_ros.data.street.canvas import Canvas
from zmask_ros.data.street.ground import FAR

PERIOD = 240.0
"""Length after which a street repeats itself, metres."""

Draw = Callable[[Canvas, float, float], None]
"""Draws something, given the canvas, x in metres as seen from the camera, and the time in seconds."""


@dataclass(frozen=True)
class Thing:
    """Something that is drawn.

    Attributes:
        at: time in seconds to x in metres, of its far end if it is long; repeats after the street's period.
        draw: draws it.
        length: how far it reaches back from there, metres.
        far: distance beyond which it is left out, metres.
    """

    at: Callable[[float], float]
    draw: Draw
    length: float = 2.5
    far: float = FAR


def plain(draw: Callable[[Canvas, float, float], None], y: float) -> Draw:
    """A thing's `draw` from a function that takes canvas, x and y."""
    return lambda canvas, x, seconds: draw(canvas, x, y)

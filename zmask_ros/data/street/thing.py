"""The smallest part of a street: something that is drawn somewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zmask_ros.data.street.canvas import Canvas
from zmask_ros.data.street.ground import FAR

PERIOD = 240.0

Draw = Callable[[Canvas, float, float], None]


@dataclass(frozen=True)
class Thing:
    """Something that is drawn.

    at: time in seconds to x in metres, of its far end if it is long; repeats after the street's period.
    length: how far it reaches back from there, metres. far: distance beyond which it is left out, metres.
    draw: draws it, given canvas, x as seen from the camera, and time.
    """

    at: Callable[[float], float]
    draw: Draw
    length: float = 2.5
    far: float = FAR


def plain(draw: Callable[[Canvas, float, float], None], y: float) -> Draw:
    """A thing's `draw` from one that takes canvas, x and y."""
    return lambda canvas, x, seconds: draw(canvas, x, y)

"""What is published for a frame: one table of picture topics, shared by the node and by `zmask replay`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zmask_ros.runtime.drawing import colorize, overlay

if TYPE_CHECKING:
    from zmask_ros.runtime.camera import CameraResult, Pictures


@dataclass(frozen=True)
class PictureTopic:
    """A picture topic.

    Attributes:
        name: within the camera's namespace.
        encoding: of the published image.
        draw: makes the picture from a result, its pictures and the palette (uint8 [256, 3] RGB).
    """

    name: str
    encoding: str
    draw: Callable[[CameraResult, Pictures, np.ndarray], np.ndarray]


def draw_overlay(result: CameraResult, pictures: Pictures, palette: np.ndarray) -> np.ndarray:
    """One picture of everything: image, defended classes, masked region, state and score; uint8 [H, W, 3] RGB."""
    colors = colorize(pictures.labels, palette)
    return overlay(pictures.image, colors, pictures.mask, result.score, result.threshold, result.state)


UNDEFENDED = PictureTopic("zmask/undefended", "mono8", lambda _result, pictures, _palette: pictures.undefended)
PICTURE_TOPICS = (
    PictureTopic("zmask/segmentation", "mono8", lambda _result, pictures, _palette: pictures.labels),
    PictureTopic(
        "zmask/segmentation_color", "rgb8", lambda _result, pictures, palette: colorize(pictures.labels, palette)
    ),
    PictureTopic("zmask/mask", "mono8", lambda _result, pictures, _palette: pictures.mask),
    PictureTopic("zmask/overlay", "rgb8", draw_overlay),
    PictureTopic("zmask/heat", "32FC1", lambda _result, pictures, _palette: pictures.heat),
)

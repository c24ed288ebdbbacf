"""Text in pictures: OpenCV's stroked font, drawn large and averaged down so that small letters stay smooth."""

from __future__ import annotations

import functools

import cv2
import numpy as np

_FONT = cv2.FONT_HERSHEY_DUPLEX
_CAPITAL = 21.0
"""Height of a capital letter of the font at scale 1, in pixels."""
_FINER = 3


def text_width(text: str, size: float) -> int:
    """Width in pixels of ``text`` whose capital letters are 0.7 ``size`` high."""
    return _glyphs(text, size).shape[1]


def text_height(size: float) -> int:
    """Height of the capital letters in pixels."""
    return round(0.7 * size)


def draw_text(
    picture: np.ndarray, text: str, left_baseline: tuple[int, int], size: float, colour: tuple[int, int, int]
) -> None:
    """Draws into uint8 [H, W, 3]; what lies outside of the picture is left out."""
    glyphs = _glyphs(text, size)
    left, baseline = left_baseline
    top = baseline - _ascent(size)
    clipped = glyphs[max(0, -top) : max(0, picture.shape[0] - top), max(0, -left) : max(0, picture.shape[1] - left)]
    if not clipped.size:
        return
    top, left = max(0, top), max(0, left)
    part = picture[top : top + clipped.shape[0], left : left + clipped.shape[1]]
    weight = clipped[..., None].astype(np.float32) / 255.0
    part[:] = np.rint(part + (np.array(colour, np.float32) - part) * weight).astype(np.uint8)


def _ascent(size: float) -> int:
    return round(size)


@functools.lru_cache(maxsize=256)
def _glyphs(text: str, size: float) -> np.ndarray:
    """uint8 [h, w] coverage; the baseline lies `_ascent` rows below the top."""
    scale = 0.7 * size * _FINER / _CAPITAL
    thickness = max(1, round(scale * 1.3))
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    large = np.zeros((round(1.4 * size) * _FINER, -(-max(width, 1) // _FINER) * _FINER), np.uint8)
    cv2.putText(large, text, (0, _ascent(size) * _FINER), _FONT, scale, 255, thickness, cv2.LINE_AA)
    small = cv2.resize(large, None, fx=1 / _FINER, fy=1 / _FINER, interpolation=cv2.INTER_AREA)
    small.setflags(write=False)
    return small

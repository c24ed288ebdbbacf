"""Pictures for people: overlays, contact sheets, and the text in them. RGB in, RGB out.

The node, `zmask replay`, the demo and the evaluation's report draw with it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np

from zmask_ros.flags.flag import FrameState

Color = tuple[int, int, int]

STATE_COLORS: dict[FrameState, Color] = {
    FrameState.CLEAN: (46, 160, 67),
    FrameState.ATTACK: (218, 44, 56),
    FrameState.UNKNOWN: (214, 138, 0),
}

_LABEL_WEIGHT = 0.5
MASK_COLOR: Color = (255, 225, 0)
_HATCH_PERIOD = 12
_INK: Color = (255, 255, 255)
_SHADE: Color = (20, 22, 26)
_FAINT: Color = (120, 124, 130)

_PAPER: Color = (255, 255, 255)
_PRINT: Color = (30, 33, 38)
_EMPTY: Color = (236, 238, 241)

_FONT = cv2.FONT_HERSHEY_DUPLEX
_CAPITAL = 21.0
"""Height of a capital letter of the font at scale 1, in pixels."""
_ENLARGED = 3
"""Text is drawn so many times larger and then made smaller, so that its edges are smooth."""


def colorize(labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """uint8 [H, W] labels and uint8 [256, 3] RGB palette -> uint8 [H, W, 3]."""
    return cv2.LUT(cv2.merge([labels, labels, labels]), palette.reshape(1, 256, 3))


def overlay(
    image: np.ndarray,
    labels_rgb: np.ndarray | None,
    mask: np.ndarray | None,
    score: float,
    threshold: float,
    state: FrameState,
) -> np.ndarray:
    """The image under its segmentation, the masked region hatched, and a banner with the verdict.

    Args:
        image: uint8 [H, W, 3].
        labels_rgb: uint8 [H, W, 3], or None where there is no segmentation.
        mask: uint8 or bool [H, W], not zero where masked, or None.
        score, threshold: of the flag; NaN is shown as a dash.
        state: of the flag.
    """
    if labels_rgb is None:
        drawn = image.copy()
    else:
        drawn = cv2.addWeighted(image, 1.0 - _LABEL_WEIGHT, labels_rgb, _LABEL_WEIGHT, 0.0)
    if mask is not None:
        _hatch(drawn, image, mask.view(np.uint8))
    _banner(drawn, score, threshold, state)
    return drawn


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[np.ndarray | None]]], column_titles: Sequence[str], cell_width: int = 320
) -> np.ndarray:
    """A table of pictures: a row a moment, its caption on the left, a title above each column.

    Args:
        rows: (caption, images uint8 [H, W, 3] or None for an empty cell); lines of a caption end with a newline.
        column_titles: one for each image of a row.
        cell_width: in pixels; all cells take the proportions of the first image.
    """
    cell = (cell_width, _cell_height(rows, cell_width))
    size, gap = max(11.0, cell_width / 22.0), max(4, cell_width // 40)
    captions = [caption.splitlines() for caption, _ in rows]
    margin = max((text_width(line, size) for lines in captions for line in lines), default=0)
    margin = margin + 2 * gap if margin else gap
    header = text_height(size) + 3 * gap
    sheet = np.full(
        (header + len(rows) * (cell[1] + gap), margin + len(column_titles) * (cell[0] + gap), 3), _PAPER, np.uint8
    )
    for column, title in enumerate(column_titles):
        x = margin + column * (cell[0] + gap) + (cell[0] - text_width(title, size)) // 2
        draw_text(sheet, title, (x, header - gap - text_height(size) // 4), size, _PRINT)
    for row, (lines, (_, images)) in enumerate(zip(captions, rows, strict=True)):
        top = header + row * (cell[1] + gap)
        _draw_caption(sheet, lines, (gap, top + cell[1] // 2), size)
        for column, image in enumerate(images):
            left = margin + column * (cell[0] + gap)
            place = sheet[top : top + cell[1], left : left + cell[0]]
            place[:] = _EMPTY
            if image is not None:
                _fill(place, image)
    return sheet


def text_width(text: str, size: float) -> int:
    """Width in pixels of ``text`` whose capital letters are 0.7 ``size`` high."""
    return _glyphs(text, size).shape[1]


def text_height(size: float) -> int:
    """Height of the capital letters in pixels."""
    return round(0.7 * size)


def draw_text(picture: np.ndarray, text: str, left_baseline: tuple[int, int], size: float, color: Color) -> None:
    """Draw into uint8 [H, W, 3]; what lies outside of the picture is left out."""
    glyphs = _glyphs(text, size)
    left, baseline = left_baseline
    top = baseline - _ascent(size)
    clipped = glyphs[max(0, -top) : max(0, picture.shape[0] - top), max(0, -left) : max(0, picture.shape[1] - left)]
    if not clipped.size:
        return
    top, left = max(0, top), max(0, left)
    part = picture[top : top + clipped.shape[0], left : left + clipped.shape[1]]
    weight = clipped[..., None].astype(np.float32) / 255.0
    part[:] = np.rint(part + (np.array(color, np.float32) - part) * weight).astype(np.uint8)


def _hatch(drawn: np.ndarray, image: np.ndarray, mask: np.ndarray) -> None:
    """Shows the image itself in the masked region, under stripes and within an outline."""
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return
    part = np.s_[y : y + height, x : x + width]
    inside = mask[part]
    pattern, stripes = (whole[part] for whole in _stripes(*mask.shape))
    cv2.copyTo(image[part], inside, drawn[part])
    cv2.copyTo(pattern, cv2.bitwise_and(stripes, inside), drawn[part])
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    line = max(1, round(len(mask) / 320))
    cv2.drawContours(drawn, outlines, -1, _SHADE, line + 2, cv2.LINE_AA)
    cv2.drawContours(drawn, outlines, -1, MASK_COLOR, line, cv2.LINE_AA)


@functools.lru_cache(maxsize=8)
def _stripes(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [H, W, 3] of the hatch's color and uint8 [H, W], 255 on its stripes and else 0.

    The stripes keep their place whatever is masked, so that a video does not flicker.
    """
    period = max(_HATCH_PERIOD, height // 40)
    y, x = np.ogrid[:height, :width]
    stripes = ((x + y) % period < period // 4).astype(np.uint8) * np.uint8(255)
    return np.full((height, width, 3), MASK_COLOR, np.uint8), stripes


def _banner(drawn: np.ndarray, score: float, threshold: float, state: FrameState) -> None:
    height, width = drawn.shape[:2]
    bar = max(14, round(height / 18))
    size = bar * 0.58
    baseline = round(bar * 0.70)
    drawn[:bar] = cv2.addWeighted(drawn[:bar], 0.25, np.full_like(drawn[:bar], _SHADE), 0.75, 0.0)
    tab = text_width(state.name, size) + bar
    drawn[:bar, :tab] = STATE_COLORS[state]
    draw_text(drawn, state.name, (bar // 2, baseline), size, _INK)
    figures = f"score {_number(score)}   threshold {_number(threshold)}"
    draw_text(drawn, figures, (tab + bar // 2, baseline), size, _INK)
    # Not right behind the figures: in a video the gauge would dance with their width.
    left = max(round(0.57 * width), tab + text_width(figures, size) + bar)
    if width - left > 4 * bar:
        _gauge(drawn, (left, width - bar // 2), bar, score, threshold, STATE_COLORS[state])


def _gauge(drawn: np.ndarray, span: tuple[int, int], bar: int, score: float, threshold: float, color: Color) -> None:
    """The score against the threshold, which stands in the middle."""
    left, right = span
    top, bottom = round(bar * 0.36), round(bar * 0.64)
    drawn[top:bottom, left:right] = _FAINT
    if threshold > 0 and math.isfinite(score):
        share = min(max(score / (2.0 * threshold), 0.0), 1.0)
        drawn[top:bottom, left : left + round(share * (right - left))] = color
    middle = (left + right) // 2
    drawn[round(bar * 0.2) : round(bar * 0.8), middle - 1 : middle + 1] = _INK


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-"


def _cell_height(rows: Sequence[tuple[str, Sequence[np.ndarray | None]]], width: int) -> int:
    first = next((image for _, images in rows for image in images if image is not None), None)
    return width * 3 // 4 if first is None else max(1, round(width * first.shape[0] / first.shape[1]))


def _fill(cell: np.ndarray, image: np.ndarray) -> None:
    """Puts the image in the middle of its cell, as large as its proportions allow."""
    scale = min(cell.shape[0] / image.shape[0], cell.shape[1] / image.shape[1])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    top, left = (cell.shape[0] - height) // 2, (cell.shape[1] - width) // 2
    cell[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=method)


def _draw_caption(sheet: np.ndarray, lines: Sequence[str], left_middle: tuple[int, int], size: float) -> None:
    left, middle = left_middle
    pitch = round(text_height(size) * 1.5)
    first = middle - pitch * (len(lines) - 1) // 2 + text_height(size) // 2
    for number, line in enumerate(lines):
        draw_text(sheet, line, (left, first + number * pitch), size, _PRINT)


def _ascent(size: float) -> int:
    return round(size)


@functools.lru_cache(maxsize=256)
def _glyphs(text: str, size: float) -> np.ndarray:
    """uint8 [h, w] coverage; the baseline lies `_ascent` rows below the top."""
    scale = 0.7 * size * _ENLARGED / _CAPITAL
    thickness = max(1, round(scale * 1.3))
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    large = np.zeros((round(1.4 * size) * _ENLARGED, -(-max(width, 1) // _ENLARGED) * _ENLARGED), np.uint8)
    cv2.putText(large, text, (0, _ascent(size) * _ENLARGED), _FONT, scale, 255, thickness, cv2.LINE_AA)
    small = cv2.resize(large, None, fx=1 / _ENLARGED, fy=1 / _ENLARGED, interpolation=cv2.INTER_AREA)
    small.setflags(write=False)
    return small

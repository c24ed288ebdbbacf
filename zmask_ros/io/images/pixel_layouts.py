"""How each `sensor_msgs` encoding lays pixels out in rows of bytes, and how RGB gets out of it and in.

Conventions that are not in the names:
- Luma and chroma follow BT.601 with video range (Y 16..235), as OpenCV's YUV conversions do.
- ``yuv422`` and ``uyvy`` are U Y V Y, ``yuv422_yuy2`` and ``yuyv`` are Y U Y V. Two pixels share four bytes;
  with an odd width the last four bytes are still there and their second luma sample means nothing.
- ``nv12`` (``nv21``): H rows of luma, then ceil(H/2) rows of ceil(W/2) U V (V U) pairs, all with one `step`.
- ``nv24``: H rows of luma with `step`, then H rows of W U V pairs with twice the `step`, as V4L2 lays it out.
- A Bayer name reads the top-left 2x2 pixels row by row: in ``bayer_rggb8`` pixel (0, 0) is red.
- 16 bits become 8 by dropping low bits, without stretching: a dark image stays dark. Which bits are low is in
  `SampleFormat`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Convert = Callable[[np.ndarray], np.ndarray]


ALL_BITS = 16


@dataclass(frozen=True)
class SampleFormat:
    """How the 16-bit samples of an image are to be read; 8-bit samples are read in one way only.

    Attributes:
        is_bigendian: whether the high byte comes first.
        significant_bits: so many low bits carry the picture, 1..16; what lies above their range is full scale.
    """

    is_bigendian: bool = False
    significant_bits: int = ALL_BITS


@dataclass(frozen=True)
class Layout:
    """One encoding.

    Attributes:
        row_bytes: image width -> bytes that a row needs at least (`step` may be larger).
        rows: image height -> rows of `step` bytes that `data` holds.
        unpack: (uint8 [rows, step], width, how to read samples) -> uint8 [H, W, 3] RGB, a view where possible.
        pack: uint8 [H, W, 3] RGB -> uint8 [rows, row_bytes], little endian.
        depth: bytes of a sample, 1 or 2.
    """

    row_bytes: Callable[[int], int]
    rows: Callable[[int], int]
    unpack: Callable[[np.ndarray, int, SampleFormat], np.ndarray]
    pack: Convert
    depth: int = 1


def _same(value: int) -> int:
    return value


def _half_up(value: int) -> int:
    return (value + 1) // 2


def to_eight_bits(samples: np.ndarray, significant_bits: int) -> np.ndarray:
    """uint16 samples of so many significant bits, in any shape, as uint8 of the same shape."""
    if significant_bits >= ALL_BITS:
        return (samples >> 8).astype(np.uint8)
    saturated = np.minimum(samples, (1 << significant_bits) - 1)
    shift = significant_bits - 8
    return (saturated >> shift if shift >= 0 else saturated << -shift).astype(np.uint8)


def _samples(rows: np.ndarray, count: int, depth: int, form: SampleFormat) -> np.ndarray:
    """The first ``count`` samples of each row as uint8 [H, count]."""
    if depth == 1:
        return rows[:, :count]
    if form.significant_bits >= ALL_BITS:
        # A quarter of the time of `to_eight_bits`.
        return np.ascontiguousarray(rows[:, int(not form.is_bigendian) : count * 2 : 2])
    words = np.ascontiguousarray(rows[:, : count * 2]).view(">u2" if form.is_bigendian else "<u2")
    return to_eight_bits(words, form.significant_bits)


def _widen(samples: np.ndarray, depth: int) -> np.ndarray:
    """uint8 [H, N] -> bytes of N samples of ``depth`` bytes; full scale stays full scale (v * 257)."""
    return samples if depth == 1 else np.repeat(samples, 2, axis=1)


def _interleaved(channels: int, to_rgb: int | None, from_rgb: int | None, depth: int = 1) -> Layout:
    def unpack(rows: np.ndarray, width: int, form: SampleFormat) -> np.ndarray:
        samples = _samples(rows, width * channels, depth, form)
        pixels = samples.reshape(len(rows), width, channels)
        return pixels if to_rgb is None else cv2.cvtColor(pixels, to_rgb)

    def pack(image: np.ndarray) -> np.ndarray:
        pixels = image if from_rgb is None else cv2.cvtColor(image, from_rgb)
        return _widen(pixels.reshape(len(image), -1), depth)

    return Layout(lambda width: width * channels * depth, _same, unpack, pack, depth)


def _bayer(pattern: str, to_rgb: int, depth: int = 1) -> Layout:
    sites = [(y, x, "rgb".index(pattern[2 * y + x])) for y in (0, 1) for x in (0, 1)]

    def unpack(rows: np.ndarray, width: int, form: SampleFormat) -> np.ndarray:
        mosaic = np.ascontiguousarray(_samples(rows, width, depth, form))
        height = len(mosaic)
        if min(height, width) > 2:
            return cv2.cvtColor(mosaic, to_rgb)
        # OpenCV leaves images of one or two pixels black; mirroring by two keeps the pattern's phase.
        border = cv2.copyMakeBorder(mosaic, 2, 2, 2, 2, cv2.BORDER_REFLECT_101)
        return cv2.cvtColor(border, to_rgb)[2 : 2 + height, 2 : 2 + width]

    def pack(image: np.ndarray) -> np.ndarray:
        mosaic = np.empty(image.shape[:2], np.uint8)
        for y, x, channel in sites:
            mosaic[y::2, x::2] = image[y::2, x::2, channel]
        return _widen(mosaic, depth)

    return Layout(lambda width: width * depth, _same, unpack, pack, depth)


def _luma_chroma(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [H, W, 3] RGB -> float Y [H, W] and float U, V [H, W, 2], BT.601 video range."""
    rgb = image.astype(np.float32) / 255.0
    luma = 16.0 + rgb @ np.array([65.481, 128.553, 24.966], np.float32)
    chroma = 128.0 + rgb @ np.array([[-37.797, 112.0], [-74.203, -93.786], [112.0, -18.214]], np.float32)
    return luma, chroma


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _pad_even(image: np.ndarray, pad_rows: bool) -> np.ndarray:
    """Repeats the last column (and row) where their number is odd."""
    height, width = image.shape[:2]
    padding = [(0, height % 2 if pad_rows else 0), (0, width % 2), (0, 0)]
    return np.pad(image, padding[: image.ndim], mode="edge")


def _yuv422(to_rgb: int, luma_at: int) -> Layout:
    def unpack(rows: np.ndarray, width: int, _form: SampleFormat) -> np.ndarray:
        pairs = _half_up(width)
        pixels = rows[:, : pairs * 4].reshape(len(rows), pairs * 2, 2)
        return cv2.cvtColor(pixels, to_rgb)[:, :width]

    def pack(image: np.ndarray) -> np.ndarray:
        luma, chroma = _luma_chroma(_pad_even(image, pad_rows=False))
        pixels = np.empty((*luma.shape, 2), np.uint8)
        pixels[..., luma_at] = _to_bytes(luma)
        shared = _to_bytes((chroma[:, 0::2] + chroma[:, 1::2]) / 2)
        pixels[:, 0::2, 1 - luma_at] = shared[..., 0]
        pixels[:, 1::2, 1 - luma_at] = shared[..., 1]
        return pixels.reshape(len(image), -1)

    return Layout(lambda width: _half_up(width) * 4, _same, unpack, pack)


def _semi_planar(to_rgb: int, chroma_order: slice) -> Layout:
    def unpack(rows: np.ndarray, width: int, _form: SampleFormat) -> np.ndarray:
        # Inverse of ``height + ceil(height / 2)``, which takes every height to another number of rows.
        height = len(rows) * 2 // 3
        luma = _pad_even(rows[:height, :width], pad_rows=True)
        chroma = rows[height:, : _half_up(width) * 2].reshape(_half_up(height), _half_up(width), 2)
        rgb = cv2.cvtColorTwoPlane(np.ascontiguousarray(luma), np.ascontiguousarray(chroma), to_rgb)
        return rgb[:height, :width]

    def pack(image: np.ndarray) -> np.ndarray:
        height = len(image)
        luma, chroma = _luma_chroma(_pad_even(image, pad_rows=True))
        shared = (chroma[0::2, 0::2] + chroma[1::2, 0::2] + chroma[0::2, 1::2] + chroma[1::2, 1::2]) / 4
        pairs = _to_bytes(shared)[..., chroma_order].reshape(_half_up(height), -1)
        return np.concatenate([_to_bytes(luma[:height]), pairs])

    return Layout(lambda width: _half_up(width) * 2, lambda height: height + _half_up(height), unpack, pack)


# RGB of (Y, U, V, 1), BT.601 video range.
_RGB_OF_YUV = np.array(
    [
        [1.164383, 0.0, 1.596027, -222.921],
        [1.164383, -0.391762, -0.812968, 135.576],
        [1.164383, 2.017232, 0.0, -276.836],
    ],
    np.float32,
)


def _full_chroma() -> Layout:
    def unpack(rows: np.ndarray, width: int, _form: SampleFormat) -> np.ndarray:
        height = len(rows) // 3
        chroma = rows[height:].reshape(height, -1)[:, : width * 2].reshape(height, width, 2)
        return cv2.transform(np.dstack([rows[:height, :width], chroma]), _RGB_OF_YUV)

    def pack(image: np.ndarray) -> np.ndarray:
        luma, chroma = _luma_chroma(image)
        return np.concatenate([_to_bytes(luma), _to_bytes(chroma).reshape(-1, image.shape[1])])

    return Layout(_same, lambda height: height * 3, unpack, pack)


def _layouts() -> dict[str, Layout]:
    layouts = {
        "rgb8": _interleaved(3, None, None),
        "bgr8": _interleaved(3, cv2.COLOR_BGR2RGB, cv2.COLOR_RGB2BGR),
        "rgba8": _interleaved(4, cv2.COLOR_RGBA2RGB, cv2.COLOR_RGB2RGBA),
        "bgra8": _interleaved(4, cv2.COLOR_BGRA2RGB, cv2.COLOR_RGB2BGRA),
        "rgb16": _interleaved(3, None, None, depth=2),
        "bgr16": _interleaved(3, cv2.COLOR_BGR2RGB, cv2.COLOR_RGB2BGR, depth=2),
        "rgba16": _interleaved(4, cv2.COLOR_RGBA2RGB, cv2.COLOR_RGB2RGBA, depth=2),
        "bgra16": _interleaved(4, cv2.COLOR_BGRA2RGB, cv2.COLOR_RGB2BGRA, depth=2),
        "mono8": _interleaved(1, cv2.COLOR_GRAY2RGB, cv2.COLOR_RGB2GRAY),
        "mono16": _interleaved(1, cv2.COLOR_GRAY2RGB, cv2.COLOR_RGB2GRAY, depth=2),
        "uyvy": _yuv422(cv2.COLOR_YUV2RGB_UYVY, luma_at=1),
        "yuyv": _yuv422(cv2.COLOR_YUV2RGB_YUY2, luma_at=0),
        "nv12": _semi_planar(cv2.COLOR_YUV2RGB_NV12, slice(None)),
        "nv21": _semi_planar(cv2.COLOR_YUV2RGB_NV21, slice(None, None, -1)),
        "nv24": _full_chroma(),
    }
    # OpenCV's older names (BayerBG and so on) read the second row from its second pixel; these do not.
    for pattern in ("rggb", "bggr", "gbrg", "grbg"):
        code = getattr(cv2, f"COLOR_Bayer{pattern.upper()}2RGB")
        layouts[f"bayer_{pattern}8"] = _bayer(pattern, code)
        layouts[f"bayer_{pattern}16"] = _bayer(pattern, code, depth=2)
    return layouts | {alias: layouts[name] for alias, name in _ALIASES.items()}


_ALIASES = {
    "8UC1": "mono8",
    "16UC1": "mono16",
    "8UC3": "bgr8",
    "8UC4": "bgra8",
    "16UC3": "bgr16",
    "16UC4": "bgra16",
    "yuv422": "uyvy",
    "yuv422_yuy2": "yuyv",
}
LAYOUTS: dict[str, Layout] = _layouts()

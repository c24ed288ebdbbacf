"""Compressed images to RGB arrays: the pixels as they are stored, then as the message's `format` says to take them.

`format` is what image_transport writes: ``ENCODING; CODEC compressed [TARGET]``. ENCODING is that of the raw image,
TARGET that of the pixels which were compressed. Where it is anything else, such as ``jpeg``, pixels are taken as they
are stored.
"""

from __future__ import annotations

import re

import cv2
import numpy as np
import simplejpeg

from zmask_ros.io.images.checks import ImageError, checked_size
from zmask_ros.io.images.compressed_header import CompressedHeader, compressed_header
from zmask_ros.io.images.damage import has_zeroed_stretch, missing_share, png_ends_early
from zmask_ros.io.images.pixel_layouts import ALL_BITS, LAYOUTS, SampleFormat, to_eight_bits

_FORMAT = re.compile(r"\s*(?P<encoding>[^;\s]*)\s*;(?:.*\bcompressed\s+(?P<target>\w+))?")
_DEPTH = re.compile(r"\bcompressedDepth\b")
_BAYER = re.compile(r"(bayer_(?:rggb|bggr|gbrg|grbg))(?:8|16)")
# What libjpeg-turbo says of JPEGs that it was not made for, such as those of 12 bits.
_OTHER_KIND = re.compile("Unsupported (?!marker)|Sorry|.*not implemented|.*omitted at compile time")
_COLOR = re.compile(r"(rgb|bgr)a?(8|16)|8UC[34]|16UC[34]")
# The camera's geometry belongs to the pixels as stored; a rotation tag would part them from camera_info.
_AS_STORED = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def decode_compressed(data: bytes, format: str, significant_bits: int = ALL_BITS) -> np.ndarray:
    """The picture in the ``data`` of a `sensor_msgs/CompressedImage`, uint8 [H, W, 3] RGB.

    Args:
        significant_bits: of 16-bit samples, as in `SampleFormat`.

    Raises:
        ImageError: not a whole JPEG or PNG, of an absurd size, or one that ``format`` contradicts.
    """
    named = f"A compressed image of {len(data)} bytes (format '{format}')"
    if _DEPTH.search(format):
        raise ImageError(f"{named} holds distances and no camera's picture.")
    header = compressed_header(data)
    if header is None:
        raise ImageError(f"{named} is neither JPEG nor PNG, or its beginning is damaged.")
    checked_size(header.height, header.width)
    try:
        mosaic, swapped = _reading(format, header)
        pixels = _stored_png(data, mosaic) if header.is_png else _stored_jpeg(data, mosaic)
    except _FormatError as error:
        raise ImageError(f"{named} {error}.") from error
    except _KindError as error:
        raise ImageError(
            f"{named} is a JPEG of a kind that is not read, or its header is damaged ({error})."
        ) from error
    except _DamageError as error:
        raise ImageError(f"{named} is corrupt or cut off: {_loss(data, header)} ({error}).") from error
    if mosaic:
        return _demosaiced(pixels, mosaic, significant_bits)
    if pixels.dtype == np.uint16:
        pixels = to_eight_bits(pixels, significant_bits)
    return np.ascontiguousarray(pixels[..., ::-1]) if swapped else pixels


class _FormatError(Exception):
    """What makes the message's format impossible to obey, after the words "A compressed image"."""


class _KindError(Exception):
    """What the decoder says of data that may be whole, but that it does not read."""


class _DamageError(Exception):
    """What the decoder says of data of which something is lost."""


def _reading(format: str, header: CompressedHeader) -> tuple[str, bool]:
    """How to take the pixels: the Bayer pattern (without its depth) or nothing, and whether red and blue are swapped.

    image_transport compresses a Bayer image as the gray mosaic that it is, unless it names another target. Of a color
    image whose target is rgb it has written red where the file's format has blue.
    """
    named = _FORMAT.match(format)
    if named is None:
        return "", False
    encoding, target = named["encoding"], named["target"] or ""
    bayer = _BAYER.fullmatch(encoding)
    if bayer and (not target or _BAYER.fullmatch(target)):
        if not header.is_gray:
            raise _FormatError("says that it is a Bayer mosaic, but has colors")
        return (_BAYER.fullmatch(target) or bayer)[1], False
    if target not in LAYOUTS and encoding not in LAYOUTS:
        raise _FormatError("has an encoding that is not known")
    if header.is_gray and _COLOR.fullmatch(target or encoding):
        raise _FormatError("says that it is in color, but is gray")
    return "", target.startswith("rgb") and not header.is_gray


def _stored_jpeg(data: bytes, mosaic: str) -> np.ndarray:
    """uint8 [H, W, 3] RGB, or [H, W] of a mosaic."""
    if has_zeroed_stretch(data):
        raise _DamageError("a stretch of it was overwritten with zeros")
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, "GRAY" if mosaic else "RGB")
    # What is no JPEG after all, and every warning of libjpeg-turbo.
    except ValueError as error:
        raise (_KindError if _OTHER_KIND.match(str(error)) else _DamageError)(str(error)) from error
    return pixels[..., 0] if mosaic else pixels


def _stored_png(data: bytes, mosaic: str) -> np.ndarray:
    """uint8 or uint16 [H, W, 3] RGB, or [H, W] of a mosaic."""
    kind = cv2.IMREAD_GRAYSCALE if mosaic else cv2.IMREAD_COLOR
    pixels = None if png_ends_early(data) else cv2.imdecode(np.frombuffer(data, np.uint8), _AS_STORED | kind)
    if pixels is None:
        raise _DamageError("its checksums do not hold")
    return pixels if mosaic else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)


def _demosaiced(mosaic: np.ndarray, pattern: str, significant_bits: int) -> np.ndarray:
    layout = LAYOUTS[f"{pattern}{mosaic.itemsize * 8}"]
    rows = np.ascontiguousarray(mosaic, mosaic.dtype.newbyteorder("<")).view(np.uint8)
    return layout.unpack(rows, mosaic.shape[1], SampleFormat(significant_bits=significant_bits))


def _loss(data: bytes, header: CompressedHeader) -> str:
    share = missing_share(data, header)
    return f"at least {share:.1%} of the picture is missing" if share >= 0.001 else "part of it is lost"

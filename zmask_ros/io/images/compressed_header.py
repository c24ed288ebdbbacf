"""What a JPEG or PNG says of itself before its pixels, so that an absurd size is refused before it is decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN = 0xDA
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""By color type; a palette gives three."""


@dataclass(frozen=True)
class CompressedHeader:
    """What stands before the pixels.

    Attributes:
        is_png: PNG; else JPEG.
        height, width: in pixels, as they are claimed.
        channels: of a pixel; an odd number of them is without alpha.
        depth: bits of a sample.
        progressive: whether a JPEG comes in scans that refine each other.
    """

    is_png: bool
    height: int
    width: int
    channels: int
    depth: int
    progressive: bool = False

    @property
    def is_gray(self) -> bool:
        """Whether there is one channel of brightness."""
        return self.channels <= 2


def compressed_header(data: bytes) -> CompressedHeader | None:
    """The header; None if ``data`` begins like neither format or ends before its size."""
    if data.startswith(PNG_SIGNATURE) and data[12:16] == b"IHDR" and len(data) >= 26:
        width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
        return CompressedHeader(True, height, width, _PNG_CHANNELS.get(color, 3), depth)
    for marker, at in jpeg_segments(data):
        if marker in _FRAME_HEADERS and at + 8 <= len(data):
            depth, height, width, channels = struct.unpack_from(">BHHB", data, at + 2)
            return CompressedHeader(False, height, width, channels, depth, marker in _PROGRESSIVE)
    return None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """The segments of a JPEG up to its first scan: marker, and where the segment's length stands."""
    at, marker = len(_JPEG), 0
    while data.startswith(_JPEG) and at + 4 <= len(data) and data[at] == 0xFF and marker != _START_OF_SCAN:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            yield marker, at + 2
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")

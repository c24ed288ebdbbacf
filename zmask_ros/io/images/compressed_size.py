"""The size that a JPEG or PNG claims to have, so that an absurd one is refused before it is decoded."""

from __future__ import annotations

import struct

_PNG = b"\x89PNG\r\n\x1a\n"
# Length, kind and checksum of a chunk.
_PNG_FRAME = 12
_JPEG = b"\xff\xd8"
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


def compressed_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) in pixels; None if ``data`` begins like neither format or ends before its size."""
    if data.startswith(_PNG) and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return height, width
    return _jpeg_size(data) if data.startswith(_JPEG) else None


def ends_early(data: bytes) -> bool:
    """Whether a JPEG has no end marker, or a chunk of a PNG claims to end after the data.

    Older OpenCV fills what is missing of a JPEG with grey, silently, and clears as much memory as a chunk claims.
    """
    if data.startswith(_JPEG):
        return data.rfind(b"\xff\xd9") < 0
    at, kind = len(_PNG), b""
    while at < len(data) and kind != b"IEND":
        kind = data[at + 4 : at + 8]
        at += _PNG_FRAME + int.from_bytes(data[at : at + 4], "big")
    return at > len(data)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = len(_JPEG)
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker in _FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None

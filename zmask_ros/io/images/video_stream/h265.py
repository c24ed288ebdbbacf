"""H.265: every picture names the references that it needs, and the decoder says which of them are missing."""

from __future__ import annotations

from zmask_ros.io.images.video_stream.annex_b import header_of, split_units
from zmask_ros.io.images.video_stream.packet import HeadersOnlyError, PacketError, PacketInfo

_SKIPPED_LEADING = (8, 9)
_RANDOM_ACCESS = range(16, 24)
_PICTURES = 32
_PARAMETER_SETS = range(32, 35)
# A message behind a picture, and of those the checksums of its samples, which the decoder compares.
_SUFFIX_SEI, _PICTURE_HASH = 40, 132
# Pictures are named by the low bits of their place in the order of display: 4 at least.
_LEAST_NAMES = 16


class H265Reader:
    """Keeps whether pictures have checksums: an encoder that writes them gives each picture one."""

    def __init__(self) -> None:
        self._has_hashes = False

    def read(self, data: bytes) -> PacketInfo:
        """See `PacketReader`."""
        units = split_units(data)
        kinds = [unit[0] >> 1 & 0x3F for unit in units]
        picture = next((kind for kind in kinds if kind < _PICTURES), None)
        if picture is None:
            raise HeadersOnlyError if any(kind in _PARAMETER_SETS for kind in kinds) else PacketError("has no picture")
        has_hash = any(_is_hash(unit) for kind, unit in zip(kinds, units, strict=True) if kind == _SUFFIX_SEI)
        if self._has_hashes and not has_hash:
            raise PacketError("is damaged: it lacks the checksum that the pictures before it have")
        self._has_hashes = has_hash
        return PacketInfo(picture in _RANDOM_ACCESS, is_leading=picture in _SKIPPED_LEADING, unnoticed=_LEAST_NAMES)


def _is_hash(unit: bytes) -> bool:
    """Whether a message is a whole checksum: behind two bytes of the unit's header, its kind, its size, and itself."""
    message = header_of(unit[2:])
    return len(message) > 1 and message[0] == _PICTURE_HASH and len(message) > 1 + message[1]

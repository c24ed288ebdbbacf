"""H.265: every picture names the references that it needs, and the decoder says which of them are missing."""

from __future__ import annotations

from zmask_ros.io.images.video_stream.annex_b import split_units
from zmask_ros.io.images.video_stream.packet import PacketError, PacketInfo

_SKIPPED_LEADING = (8, 9)
_RANDOM_ACCESS = range(16, 24)
_PICTURES = 32
# Pictures are named by the low bits of their place in the order of display: 4 at least.
_LEAST_NAMES = 16


class H265Reader:
    """Has no memory: the decoder has it."""

    def read(self, data: bytes) -> PacketInfo:
        """See `PacketReader`."""
        kinds = [unit[0] >> 1 & 0x3F for unit in split_units(data)]
        picture = next((kind for kind in kinds if kind < _PICTURES), None)
        if picture is None:
            raise PacketError("has no picture")
        return PacketInfo(picture in _RANDOM_ACCESS, is_leading=picture in _SKIPPED_LEADING, unnoticed=_LEAST_NAMES)

"""The byte stream of H.264 and H.265: units between start codes (Annex B of both standards)."""

from __future__ import annotations

import re

from zmask_ros.io.images.video_stream.packet import PacketError

_START_CODE = re.compile(rb"\x00\x00\x01")
# No unit has these bytes within it, and zeros between units come before a start code or the end: so a stretch that was
# overwritten with zeros shows.
_IMPOSSIBLE = re.compile(rb"\x00\x00(?:\x00*\x02|\x00+[\x03-\xff])")
# Of what is read here, all lies in these bytes.
_HEADER_BYTES = 512


def split_units(data: bytes) -> list[bytes]:
    """The units of a packet, each with its header byte first.

    Raises:
        PacketError: it has none, or bytes that no encoder writes.
    """
    starts = [match.end() for match in _START_CODE.finditer(data)]
    if not starts or data[: starts[0] - 3].strip(b"\0"):
        raise PacketError("does not begin with a start code: what is read is the byte stream of Annex B")
    if _IMPOSSIBLE.search(data):
        raise PacketError("is damaged: it has bytes that no encoder writes")
    ends = [*(start - 3 for start in starts[1:]), len(data)]
    units = [data[start:end].rstrip(b"\0") for start, end in zip(starts, ends, strict=True)]
    if any(not unit or unit[0] & 0x80 for unit in units):
        raise PacketError("is damaged: a unit in it is empty or has its forbidden bit set")
    return units


def header_of(unit: bytes) -> bytes:
    """The beginning of a unit without the bytes that keep start codes out of it."""
    return unit[:_HEADER_BYTES].replace(b"\0\0\x03", b"\0\0")

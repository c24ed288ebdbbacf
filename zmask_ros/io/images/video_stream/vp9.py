"""VP9: a packet shows one picture, and may hold others before it; nothing in it has a number."""

from __future__ import annotations

from collections.abc import Iterator

from zmask_ros.io.images.video_stream.bits import BitReader
from zmask_ros.io.images.video_stream.packet import PacketError, PacketInfo

_FRAME_MARKER, _SUPERFRAME_MARKER = 2, 6
_SYNC_CODE = 0x498342
_LARGEST_PROFILE = 3


class Vp9Reader:
    """Has no memory: only stamps tell that a packet is missing."""

    def read(self, data: bytes) -> PacketInfo:
        """See `PacketReader`."""
        try:
            frames = [_frame(BitReader(frame)) for frame in _frames(data)]
        except EOFError as error:
            raise PacketError(f"is damaged: {error}") from error
        if not any(is_shown for _, is_shown in frames):
            raise PacketError("shows no picture")
        return PacketInfo(starts=frames[0][0], is_blind=True)


def _frame(reader: BitReader) -> tuple[bool, bool]:
    """Whether a frame is a key frame, and whether it is shown (section 6.2 of the standard)."""
    if reader.bits(2) != _FRAME_MARKER:
        raise PacketError("is damaged: it does not begin as a frame of VP9 does")
    profile = reader.bits(1) + 2 * reader.bits(1)
    if profile == _LARGEST_PROFILE and reader.flag():
        raise PacketError("is damaged: its profile is not known")
    if reader.flag():
        # A picture that was decoded before.
        return False, True
    is_key, is_shown = not reader.flag(), reader.flag()
    reader.flag()
    if is_key and reader.bits(24) != _SYNC_CODE:
        raise PacketError("is damaged: a key frame in it lacks its sync code")
    return is_key, is_shown


def _frames(data: bytes) -> Iterator[bytes]:
    """The frames of a packet: several have their sizes behind them (annex B)."""
    last = data[-1] if data else 0
    count, size_bytes = (last & 7) + 1, (last >> 3 & 3) + 1
    index = 2 + count * size_bytes
    if last >> 5 != _SUPERFRAME_MARKER or len(data) < index or data[-index] != last:
        yield data
        return
    at, sizes = 0, data[-index + 1 : -1]
    for place in range(0, len(sizes), size_bytes):
        size = int.from_bytes(sizes[place : place + size_bytes], "little")
        if at + size > len(data) - index:
            raise PacketError("is damaged: a frame in it is longer than the packet")
        # One of no bytes is left out by some encoders.
        if size:
            yield data[at : at + size]
        at += size

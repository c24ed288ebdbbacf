"""H.264: every reference picture has a number, `frame_num`, one higher than that of the one before it."""

from __future__ import annotations

from dataclasses import dataclass

from zmask_ros.io.images.video_stream.annex_b import header_of, split_units
from zmask_ros.io.images.video_stream.bits import BitReader
from zmask_ros.io.images.video_stream.packet import HeadersOnlyError, PacketError, PacketInfo

_SLICE, _IDR_SLICE, _SEI, _SPS, _PPS = 1, 5, 6, 7, 8
_RECOVERY_POINT = 6
# Profiles whose parameter sets say more of the samples.
_HIGH = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})


@dataclass(frozen=True)
class _SequenceParameters:
    frame_num_bits: int
    has_color_planes: bool


class H264Reader:
    """Keeps the parameter sets and the number of the last reference picture."""

    def __init__(self) -> None:
        self._sequences: dict[int, _SequenceParameters] = {}
        self._pictures: dict[int, int] = {}
        self._last: int | None = None

    def read(self, data: bytes) -> PacketInfo:
        """See `PacketReader`."""
        recovers, has_headers, info = False, False, None
        try:
            for unit in split_units(data):
                kind = unit[0] & 0x1F
                has_headers = has_headers or kind in (_SPS, _PPS)
                if kind == _SPS:
                    self._learn_sequence(BitReader(header_of(unit[1:])))
                elif kind == _PPS:
                    reader = BitReader(header_of(unit[1:]))
                    self._pictures[reader.ue()] = reader.ue()
                elif kind == _SEI:
                    recovers = recovers or _recovers_at_once(header_of(unit[1:]))
                elif kind in (_SLICE, _IDR_SLICE):
                    info = info or self._picture(unit, recovers)
        except EOFError as error:
            raise PacketError(f"is damaged: {error}") from error
        if info is None:
            raise HeadersOnlyError if has_headers else PacketError("has no picture")
        return info

    def _picture(self, unit: bytes, recovers: bool) -> PacketInfo:
        is_idr, is_reference = unit[0] & 0x1F == _IDR_SLICE, bool(unit[0] & 0x60)
        reader = BitReader(header_of(unit[1:]))
        reader.ue(), reader.ue()
        sequence = self._sequences.get(self._pictures.get(reader.ue(), -1))
        if sequence is None:
            # Without its parameter sets no decoder can begin with it.
            return PacketInfo(False)
        if sequence.has_color_planes:
            reader.bits(2)
        number, count = reader.bits(sequence.frame_num_bits), 1 << sequence.frame_num_bits
        missing = 0 if is_idr or self._last is None else (number - self._last - 1) % count
        # A picture that is no reference takes the next number and leaves it to the next reference.
        self._last = number if is_reference or missing else self._last
        loss = "pictures of it were lost" if missing else ""
        return PacketInfo(is_idr or recovers, is_open=not is_idr, loss=loss, unnoticed=count)

    def _learn_sequence(self, reader: BitReader) -> None:
        profile = reader.bits(8)
        reader.bits(16)
        identity, has_color_planes = reader.ue(), False
        if profile in _HIGH:
            chroma = reader.ue()
            has_color_planes = chroma == 3 and reader.flag()
            reader.ue(), reader.ue(), reader.flag()
            if reader.flag():
                for index in range(12 if chroma == 3 else 8):
                    if reader.flag():
                        _skip_scaling_list(reader, 16 if index < 6 else 64)
        self._sequences[identity] = _SequenceParameters(reader.ue() + 4, has_color_planes)


def _skip_scaling_list(reader: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + reader.se()) % 256
        last = following or last


def _recovers_at_once(payload: bytes) -> bool:
    """Whether an SEI unit says that all pictures from this one on can be decoded without earlier ones."""
    at = 0
    while at + 2 < len(payload):
        fields = []
        for _ in range(2):
            value = 0
            while at < len(payload) and payload[at] == 0xFF:
                value, at = value + 0xFF, at + 1
            if at >= len(payload):
                return False
            fields.append(value + payload[at])
            at += 1
        kind, size = fields
        if kind == _RECOVERY_POINT:
            reader = BitReader(payload[at : at + size])
            # An encoder that refreshes a picture little by little may end with one that is only like the right one.
            return reader.ue() == 0 and reader.flag()
        at += size
    return False

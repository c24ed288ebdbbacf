"""AV1: a packet shows one picture, and pictures have numbers in the order in which they are shown, `order_hint`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zmask_ros.io.images.video_stream.bits import BitReader
from zmask_ros.io.images.video_stream.packet import PacketError, PacketInfo

_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6
_KEY_FRAME, _INTRA_FRAME, _SWITCH_FRAME = 0, 2, 3
_SLOTS = 8
_CHOSEN_BY_FRAME = 2
_LAST_LEVEL_WITHOUT_TIER = 7


@dataclass(frozen=True)
class _Sequence:
    """What of a sequence header is needed to find the number of a picture.

    Attributes:
        is_still: whether frames have no header to speak of.
        time_bits: of the presentation time of a shown frame; 0 if it has none.
        screen_content, integer_motion: 0 or 1, or `_CHOSEN_BY_FRAME`.
        has_removal_times: whether frames may say when a decoder has to let go of them.
        identity_bits: of the number of a frame; 0 if it has none.
        order_bits: of `order_hint`; 0 if there is none.
    """

    is_still: bool
    time_bits: int
    has_removal_times: bool
    screen_content: int
    integer_motion: int
    identity_bits: int
    order_bits: int


@dataclass(frozen=True)
class _Frame:
    kind: int
    is_shown: bool
    order: int
    is_repeated: bool = False


class Av1Reader:
    """Keeps the sequence header, and the numbers of the eight pictures that a decoder keeps."""

    def __init__(self) -> None:
        self._sequence: _Sequence | None = None
        self._slots = [0] * _SLOTS
        self._last: int | None = None

    def read(self, data: bytes) -> PacketInfo:
        """See `PacketReader`."""
        shown: list[_Frame] = []
        try:
            for kind, payload in _units(data):
                if kind == _SEQUENCE_HEADER:
                    self._sequence = _sequence(BitReader(payload))
                elif kind in (_FRAME_HEADER, _FRAME) and self._sequence is not None:
                    frame = self._frame(BitReader(payload), self._sequence)
                    shown += [frame] if frame.is_shown else []
        except EOFError as error:
            raise PacketError(f"is damaged: {error}") from error
        if self._sequence is None:
            return PacketInfo(False)
        if not shown:
            raise PacketError("shows no picture")
        return self._picture(shown[0], self._sequence.order_bits)

    def _picture(self, frame: _Frame, order_bits: int) -> PacketInfo:
        starts, count = frame.kind == _KEY_FRAME, 1 << order_bits
        missing = 0 if starts or self._last is None else (frame.order - self._last - 1) % count
        self._last = frame.order
        loss = "pictures of it were lost" if missing else ""
        # Of a picture that was decoded before, the number is the one that is kept, and not in the packet.
        return PacketInfo(starts, loss=loss, unnoticed=1 if frame.is_repeated else count, is_blind=not order_bits)

    def _frame(self, reader: BitReader, sequence: _Sequence) -> _Frame:
        if sequence.is_still:
            return _Frame(_KEY_FRAME, True, 0)
        if reader.flag():
            # A picture that was decoded before; a key frame that is shown so cannot be begun with.
            return _Frame(_SWITCH_FRAME, True, self._slots[reader.bits(3)], True)
        kind, is_shown = reader.bits(2), reader.flag()
        if is_shown:
            reader.bits(sequence.time_bits)
        else:
            reader.flag()
        is_fresh = kind == _KEY_FRAME and is_shown
        resilient = kind == _SWITCH_FRAME or is_fresh or reader.flag()
        reader.flag()
        screen_content = reader.bits(1) if sequence.screen_content == _CHOSEN_BY_FRAME else sequence.screen_content
        if screen_content and sequence.integer_motion == _CHOSEN_BY_FRAME:
            reader.flag()
        reader.bits(sequence.identity_bits)
        if kind != _SWITCH_FRAME:
            reader.flag()
        order = reader.bits(sequence.order_bits)
        is_kept_everywhere = is_fresh or kind == _SWITCH_FRAME
        slots = 0xFF if is_kept_everywhere else self._refreshed(reader, kind, resilient, sequence)
        self._slots = [order if slots >> slot & 1 else kept for slot, kept in enumerate(self._slots)]
        return _Frame(kind if is_shown else _SWITCH_FRAME, is_shown, order)

    def _refreshed(self, reader: BitReader, kind: int, resilient: bool, sequence: _Sequence) -> int:
        """Which slots the frame is kept in, a bit each."""
        if kind not in (_KEY_FRAME, _INTRA_FRAME) and not resilient:
            reader.bits(3)
        if sequence.has_removal_times and reader.flag():
            raise PacketError("has removal times of a decoder model, which are not read")
        return reader.bits(8)


def _units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and payload of the units of a packet, which say how long they are (section 5.2)."""
    at = 0
    while at < len(data):
        head = data[at]
        at += 2 if head & 0x04 else 1
        if head & 0x81 or not head & 0x02:
            raise PacketError("is damaged, or not in the low overhead format, of which each unit says its size")
        size, shift = 0, 0
        while True:
            if at >= len(data) or shift > 28:
                raise PacketError("is damaged: a unit in it is longer than the packet")
            size |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not data[at - 1] & 0x80:
                break
        if at + size > len(data):
            raise PacketError("is cut off: a unit in it is longer than the packet")
        yield head >> 3 & 0x0F, data[at : at + size]
        at += size


def _sequence(reader: BitReader) -> _Sequence:
    reader.bits(3)
    reader.flag()
    if reader.flag():
        return _Sequence(True, 0, False, 0, 0, 0, 0)
    time_bits, has_removal_times = _timing(reader)
    width_bits, height_bits = reader.bits(4) + 1, reader.bits(4) + 1
    reader.bits(width_bits), reader.bits(height_bits)
    identity_bits = 0
    if reader.flag():
        difference_bits = reader.bits(4) + 2
        identity_bits = reader.bits(3) + 1 + difference_bits
    reader.bits(7)
    has_order = reader.flag()
    if has_order:
        reader.bits(2)
    screen_content = _CHOSEN_BY_FRAME if reader.flag() else reader.bits(1)
    integer_motion = _CHOSEN_BY_FRAME
    if screen_content and not reader.flag():
        integer_motion = reader.bits(1)
    order_bits = reader.bits(3) + 1 if has_order else 0
    return _Sequence(False, time_bits, has_removal_times, screen_content, integer_motion, identity_bits, order_bits)


def _timing(reader: BitReader) -> tuple[int, bool]:
    """`time_bits` and `has_removal_times`, which stand among things that are of no use here."""
    time_bits = delay_bits = 0
    has_equal_intervals = True
    if reader.flag():
        reader.bits(64)
        has_equal_intervals = reader.flag()
        if has_equal_intervals:
            reader.ue()
        if reader.flag():
            delay_bits = reader.bits(5) + 1
            reader.bits(37)
            time_bits = reader.bits(5) + 1
    has_display_delay = reader.flag()
    for _ in range(reader.bits(5) + 1):
        reader.bits(12)
        if reader.bits(5) > _LAST_LEVEL_WITHOUT_TIER:
            reader.flag()
        if delay_bits and reader.flag():
            reader.bits(2 * delay_bits + 1)
        if has_display_delay and reader.flag():
            reader.bits(4)
    return 0 if has_equal_intervals else time_bits, bool(delay_bits)

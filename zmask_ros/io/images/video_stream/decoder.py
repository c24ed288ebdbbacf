"""The one decoder of a topic: packets in, and of each of them exactly one picture, or the reason why there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np

from zmask_ros.errors import ZmaskError
from zmask_ros.io.images.checks import MAX_PIXELS
from zmask_ros.io.images.video_stream.av1 import Av1Reader
from zmask_ros.io.images.video_stream.h264 import H264Reader
from zmask_ros.io.images.video_stream.h265 import H265Reader
from zmask_ros.io.images.video_stream.pace import MOST_DELAYED, Pace
from zmask_ros.io.images.video_stream.packet import HeadersOnlyError, PacketError, PacketInfo, PacketReader
from zmask_ros.io.images.video_stream.vp9 import Vp9Reader

T = TypeVar("T")

NO_KEY_FRAME = "no key frame of the video has come yet"
NOT_GIVEN = "the decoder gives no picture for this packet of the video"
LEADING = "this picture of the video needs others from before the key frame that it was begun with"
BLIND = "the packets of the video have no numbers: only its stamps tell that one is lost"
_NEVER_NS = 1 << 63
_SINCE = "no key frame of the video has come since"
_MOST_THREADS = 4
_MOST_HEADERS = 1 << 16


@dataclass(frozen=True)
class _Codec:
    """What reads its packets, FFmpeg's name of what decodes them, and the options that this one has besides."""

    reader: Callable[[], PacketReader]
    decoder: str
    options: dict[str, str] = field(default_factory=dict)


_CODECS = {
    "h264": _Codec(H264Reader, "h264"),
    "h265": _Codec(H265Reader, "hevc"),
    # Strictly it looks at what is left of a picture's bytes, in which most damage shows.
    "av1": _Codec(Av1Reader, "libdav1d", {"strict": "strict"}),
    # FFmpeg's own decoder of VP9 takes almost any damage without a word.
    "vp9": _Codec(Vp9Reader, "libvpx-vp9"),
}
CODECS = tuple(_CODECS)


@dataclass(frozen=True)
class VideoPacket:
    """One message of a video.

    Attributes:
        codec: one of `CODECS`; packets of any other are refused.
        data: what shows one picture.
        stamp_ns: when that was taken.
    """

    codec: str
    data: bytes
    stamp_ns: int


@dataclass(frozen=True)
class Decoded(Generic[T]):
    """What became of a packet.

    Attributes:
        source: what came with the packet.
        frame: the picture as the decoder gives it, for `VideoStream.to_rgb`; None if there is none.
        reason: why there is none, or what has to be said of it.
    """

    source: T
    frame: Any
    reason: str = ""


@dataclass(frozen=True)
class _Waiting(Generic[T]):
    """A packet of which nothing was said yet.

    Attributes:
        stamp_ns: by which packets are put into the order in which they are shown.
        outcome: what will be said; undecided where it has neither a frame nor a reason: the decoder has it.
    """

    stamp_ns: int
    outcome: Decoded[T]

    @property
    def is_decided(self) -> bool:
        """Whether the decoder has given its picture, or will not."""
        return self.outcome.frame is not None or bool(self.outcome.reason)

    def without_picture(self, reason: str = NOT_GIVEN) -> _Waiting[T]:
        """The same, decided."""
        return self if self.is_decided else replace(self, outcome=replace(self.outcome, reason=reason))


class VideoStream(Generic[T]):
    """Decodes the packets of one topic in their order.

    Pictures come in the order in which they are shown, and a packet without a picture where its picture would be. From
    a packet that is lost or damaged up to the next key frame, there are none; nor before the first key frame.

    Args:
        low_delay: give each picture as soon as it can be shown; else decode several at a time.

    Raises:
        ZmaskError: PyAV is not installed.
    """

    def __init__(self, low_delay: bool) -> None:
        self._av = _import_av()
        self._threads = 1 if low_delay else min(_MOST_THREADS, os.cpu_count() or 1)
        # One for all pictures: to set up another for each of them takes longer than to decode it.
        self._converter = self._av.video.reformatter.VideoReformatter()
        self._codec = ""
        self._reader: PacketReader = H264Reader()
        self._decoder: Any = None
        self._pace = Pace(0 if low_delay else MOST_DELAYED)
        self._serial = 0
        self._waiting: dict[int, _Waiting[T]] = {}
        self._unknown_because = NO_KEY_FRAME
        self._remark = ""
        self._headers = b""
        self._since_key = 0
        self._first_key: tuple[PacketInfo, int] | None = None

    def push(self, source: T, packet: VideoPacket) -> Iterator[Decoded[T]]:
        """What is known once this packet has come: of no packet, one, or several."""
        if packet.codec != self._codec:
            yield from self._change_codec(packet.codec)
        packet = replace(packet, data=self._headers + packet.data)
        try:
            reason = self._refusal(packet)
        except HeadersOnlyError as error:
            # It may also be a key frame whose picture is lost: nothing is decoded before the next one.
            self.lose(f"a packet of it {error}")
            reason = f"this packet of the video {error}"
            self._headers = packet.data if len(packet.data) < _MOST_HEADERS else b""
        except PacketError as error:
            self.lose(f"a packet of it {error}")
            reason = f"this packet of the video {error}"
            self._headers = b""
        if reason:
            self._wait(packet.stamp_ns, Decoded(source, None, reason))
        else:
            self._headers = b""
            yield from self._decode(source, packet)
        yield from self._release(self._pace.depth)

    def lose(self, what: str) -> None:
        """Something was lost before the next packet; ``what``, as a clause. Nothing is decoded before a key frame."""
        self._drain(self._serial)
        self._pace.begin()
        self._unknown_because = self._unknown_because or f"{_SINCE} {what}"

    def finish(self, what: str = "") -> Iterator[Decoded[T]]:
        """What is known of every packet that has come, at the end or where something was lost: ``what``."""
        self._unknown_because = ""
        self.lose(what)
        yield from self._release(0)
        if not what:
            self._unknown_because = NO_KEY_FRAME

    def to_rgb(self, frame: Any) -> np.ndarray:
        """A picture as uint8 [H, W, 3] RGB, by the matrix and the range that the stream names.

        Where it names no matrix, that of BT.601 is taken, and where it names no range, the limited one, as FFmpeg does.
        """
        return np.asarray(self._converter.reformat(frame, format="rgb24").to_ndarray())

    def _change_codec(self, codec: str) -> Iterator[Decoded[T]]:
        yield from self.finish()
        self._codec, self._headers = codec, b""
        if codec not in _CODECS:
            return
        self._reader = _CODECS[codec].reader()
        decoder = self._av.CodecContext.create(_CODECS[codec].decoder, "r")
        decoder.thread_count = self._threads
        decoder.thread_type = "FRAME" if self._threads > 1 else "SLICE"
        # Else the decoder makes something up where it finds damage, or a reference missing.
        options = {"err_detect": "explode+crccheck", "max_pixels": str(MAX_PIXELS)}
        decoder.options = {**options, **_CODECS[codec].options}
        if codec == "av1" and self._threads == 1:
            decoder.options = {**decoder.options, "max_frame_delay": "1"}
        self._decoder = decoder

    def _refusal(self, packet: VideoPacket) -> str:
        """Why a packet cannot be decoded; empty if it can.

        Raises:
            PacketError: it is damaged.
        """
        if packet.codec not in _CODECS:
            return f"video of '{packet.codec}' is not read, but that of {', '.join(CODECS)}"
        info = self._reader.read(packet.data)
        # Numbers begin anew at a key frame: with one among them, as many as a group has can be lost without a trace.
        unnoticed = min(info.unnoticed, self._since_key)
        if loss := info.loss or self._pace.break_before(packet.stamp_ns, unnoticed, info.starts):
            self.lose(loss)
        self._since_key = 1 if info.starts else self._since_key + 1
        if info.starts:
            # Later key frames have what is before them.
            self._first_key = (info, packet.stamp_ns) if self._unknown_because else None
            self._unknown_because = ""
        elif not self._unknown_because:
            self._pace.watch(self._serial, packet.stamp_ns, unnoticed)
        self._pace.add(packet.stamp_ns)
        self._remark = BLIND if info.is_blind else ""
        return self._unknown_because or (LEADING if self._needs_earlier(info, packet.stamp_ns) else "")

    def _needs_earlier(self, info: PacketInfo, stamp_ns: int) -> bool:
        """Whether a picture needs others from before the key frame that decoding began with."""
        if info.starts or self._first_key is None:
            return False
        key, key_ns = self._first_key
        return info.is_leading or (key.is_open and stamp_ns <= key_ns)

    def _wait(self, stamp_ns: int, outcome: Decoded[T]) -> int:
        """The number of the packet, in the order in which packets come."""
        serial, self._serial = self._serial, self._serial + 1
        self._waiting[serial] = _Waiting(stamp_ns, outcome)
        return serial

    def _in_decoder(self) -> list[int]:
        return [serial for serial, waiting in self._waiting.items() if not waiting.is_decided]

    def _decode(self, source: T, packet: VideoPacket) -> Iterator[Decoded[T]]:
        # A copy: what Python holds the decoder's threads can only release with Python's lock, which is held by whoever
        # closes the decoder, and waits for them.
        data = self._av.Packet(len(packet.data))
        data.update(packet.data)
        data.pts = serial = self._wait(packet.stamp_ns, Decoded(source, None))
        try:
            frames = self._decoder.decode(data)
        except self._av.error.FFmpegError as error:
            # With several threads, the error may be that of any packet that the decoder has.
            first = serial if self._threads == 1 else min(self._in_decoder())
            self._fail(first, f"a packet of it could not be decoded ({error.strerror})")
            return
        for frame in frames:
            if frame.is_corrupt:
                self._fail(frame.pts, "a packet of it could not be decoded as a whole")
                return
            yield from self._show(frame)
        if len(self._in_decoder()) > MOST_DELAYED + 2 * self._threads:
            self._fail(min(self._in_decoder()), "a packet of it gave no picture")

    def _fail(self, first: int, what: str) -> None:
        """Give up the packets from the ``first`` of these numbers on."""
        self._unknown_because = f"{_SINCE} {what}"
        self._drain(first, self._unknown_because)
        self._pace.begin()

    def _drain(self, end: int, reason: str = NOT_GIVEN) -> None:
        """Empty the decoder: of the packets before ``end`` it still gives the pictures, of others there is a reason."""
        if self._in_decoder():
            try:
                frames = self._decoder.decode(None)
            except self._av.error.FFmpegError:
                frames = []
            # Of packets that are shown between these, none will come any more.
            if (loss := self._pace.loss_before(_NEVER_NS)) is not None and loss.serial < end:
                end, reason = loss.serial, f"{_SINCE} {loss.what}"
            for frame in frames:
                waiting = self._undecided(frame)
                if waiting is not None and frame.pts < end and not frame.is_corrupt:
                    self._waiting[frame.pts] = replace(waiting, outcome=self._seen(waiting, frame))
            self._waiting = {serial: waiting.without_picture(reason) for serial, waiting in self._waiting.items()}
        if self._decoder is not None:
            self._decoder.flush_buffers()

    def _undecided(self, frame: Any) -> _Waiting[T] | None:
        """The packet of a picture, unless it was given up: decoders with several threads keep some beyond an error."""
        waiting = self._waiting.get(frame.pts)
        return None if waiting is None or waiting.is_decided else waiting

    def _seen(self, waiting: _Waiting[T], frame: Any) -> Decoded[T]:
        return Decoded(waiting.outcome.source, frame, self._remark)

    def _show(self, frame: Any) -> Iterator[Decoded[T]]:
        """A picture, after the packets that are shown before it: theirs will not come any more."""
        shown = self._undecided(frame)
        if shown is None:
            return
        if (loss := self._pace.loss_before(shown.stamp_ns)) is not None:
            self._fail(loss.serial, loss.what)
            return
        del self._waiting[frame.pts]
        yield from self._tell([one for one, waiting in self._waiting.items() if waiting.stamp_ns < shown.stamp_ns])
        yield self._seen(shown, frame)

    def _release(self, depth: int) -> Iterator[Decoded[T]]:
        """The packets that are decided, when none can come any more that is shown before them."""
        undecided_ns = [self._waiting[serial].stamp_ns for serial in self._in_decoder()]
        decided = [serial for serial, waiting in self._waiting.items() if waiting.is_decided]
        decided.sort(key=lambda serial: self._waiting[serial].stamp_ns)
        free = decided[: max(0, len(decided) - depth)]
        yield from self._tell([s for s in free if not undecided_ns or self._waiting[s].stamp_ns < min(undecided_ns)])

    def _tell(self, serials: list[int]) -> Iterator[Decoded[T]]:
        """Packets in the order in which they are shown."""
        for waiting in sorted(map(self._waiting.pop, serials), key=lambda waiting: waiting.stamp_ns):
            yield waiting.without_picture().outcome


def _import_av() -> Any:
    try:
        import av
        import av.video.reformatter
    except ImportError as error:
        raise ZmaskError(f"Video is decoded by PyAV, which cannot be imported ({error}): pip install av.") from error
    return av

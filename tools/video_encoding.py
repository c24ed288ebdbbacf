"""Pictures to packets, as the encoder in a vehicle makes them: for the tests, and to measure what codecs take."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np


@dataclass(frozen=True)
class Video:
    """An encoded one.

    Attributes:
        codec: as messages name it: h264, h265, av1 or vp9.
        packets: number of the picture and data, in the order in which they are recorded.
        keys: numbers of the key frames.
    """

    codec: str
    packets: tuple[tuple[int, bytes], ...]
    keys: frozenset[int]


@contextmanager
def usual_scheduling() -> Iterator[None]:
    """Context manager after which this thread is scheduled as before.

    SVT-AV1 gives whoever opens it real-time priority where it may, and leaves it: all processes that are started later
    would have it, and no other process would get a core from them. See findings/svt_av1_real_time.sh.
    """
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


@usual_scheduling()
def encode(codec: str, encoder: str, pictures: Sequence[np.ndarray], group: int, options: dict[str, str]) -> Video:
    """A video with a key frame every ``group`` pictures.

    Args:
        codec: as messages name it.
        encoder: FFmpeg's name of it, such as libx264.
        pictures: uint8 [H, W, 3] RGB.
        group: pictures from one key frame to the next.
        options: of the encoder.
    """
    context = av.CodecContext.create(encoder, "w")
    context.height, context.width = pictures[0].shape[:2]
    context.pix_fmt, context.gop_size, context.options = "yuv420p", group, options
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25, 1)
    packets = []
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts = number
        packets += context.encode(frame)
    packets += context.encode(None)
    keys = frozenset(packet.pts for packet in packets if packet.is_keyframe)
    return Video(codec, tuple((packet.pts, bytes(packet)) for packet in packets), keys)

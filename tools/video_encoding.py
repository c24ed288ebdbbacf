"""Pictures to packets, as the encoder in a vehicle makes them: for the tests, and to measure what codecs take."""

from __future__ import annotations

from collections.abc import Sequence
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

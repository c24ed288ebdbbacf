"""The messages that carry video, and what becomes of one: a picture, or the reason why there is none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from zmask_ros.io.images.checks import ImageError, bytes_of
from zmask_ros.io.images.compressed_header import PNG_SIGNATURE
from zmask_ros.io.images.video_stream.decoder import VideoPacket
from zmask_ros.io.stamps import stamp_ns

FOXGLOVE_VIDEO = "foxglove_msgs/msg/CompressedVideo"
FFMPEG_PACKET = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
VIDEO_TYPES = (FOXGLOVE_VIDEO, FFMPEG_PACKET)

# Encoders of FFmpeg have such names as libx264, h264_nvenc, hevc_vaapi, libsvtav1.
_FAMILIES = {
    "h264": re.compile("264|avc"),
    "h265": re.compile("265|hevc"),
    "av1": re.compile("av1"),
    "vp9": re.compile("vp0?9"),
}
# How a JPEG and a PNG begin, and no packet.
_PICTURES = (b"\xff\xd8\xff", PNG_SIGNATURE)


@dataclass(frozen=True)
class VideoPicture:
    """What became of one message of a video, in its place.

    Attributes:
        header: of the message, with stamp and frame_id.
        image: uint8 [H, W, 3] RGB; None if there is none.
        reason: why there is none, or what has to be said of it; half a sentence.
    """

    header: Any
    image: np.ndarray | None
    reason: str = ""

    def whole(self) -> np.ndarray:
        """The picture.

        Raises:
            ImageError: there is none.
        """
        if self.image is None:
            raise ImageError(self.why_missing)
        return self.image

    @property
    def why_missing(self) -> str:
        """Why there is no picture, as a sentence; empty if there is one."""
        return f"{self.reason[:1].upper()}{self.reason[1:]}." if self.image is None else ""


def holds_video(message: Any) -> bool:
    """Whether a `sensor_msgs/CompressedImage` is a packet of a video, as its ``format`` says, and no picture."""
    return bool(_codec(message.format)) and not bytes_of(message.data)[:8].tobytes().startswith(_PICTURES)


def video_packet(message: Any, header: Any) -> VideoPacket:
    """The packet in a message of one of `VIDEO_TYPES`, or in a CompressedImage that holds one.

    Args:
        header: with its stamp; a CompressedVideo has none of its own.

    Raises:
        ImageError: its data are no buffer of bytes.
    """
    # Codec, pixel formats on the way to the encoder, and the encoding of the camera's image.
    text = message.encoding if hasattr(message, "encoding") else message.format
    tokens = [token.strip() for token in text.split(";")]
    codec = _codec(text) or tokens[0].lower()
    if any(token.startswith("bayer_") for token in tokens[:-1]):
        codec = f"{codec} of a Bayer mosaic"
    return VideoPacket(codec, bytes_of(message.data).tobytes(), stamp_ns(header))


def _codec(text: str) -> str:
    """The codec that a text names in whatever spelling; empty where it names none."""
    return next((family for family, pattern in _FAMILIES.items() if pattern.search(text.lower())), "")

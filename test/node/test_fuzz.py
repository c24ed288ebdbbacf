"""Garbage, much of it: through the codec, and through the running node. No crash, no hang, a flag for each."""

from __future__ import annotations

import array
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from support.node_processes import Camera, Client, StartedNode, header, tiny_parameters
from support.reliability_report import report
from support.tiny_network import clean_image
from zmask_ros.errors import ZmaskError
from zmask_ros.io.images.codec import ENCODINGS, decode, encode, encode_compressed
from zmask_ros.io.images.remarks import remark
from zmask_ros.msg import AttackFlag

pytestmark = pytest.mark.slow

CODEC_MESSAGES = int(os.environ.get("ZMASK_FUZZ_CODEC", "20000"))
NODE_MESSAGES = int(os.environ.get("ZMASK_FUZZ_NODE", "1000"))
NAMESPACE = "/fuzz"
ON_THE_WAY = 20
SLOWEST_S = 1.0
SIZES = (0, 1, 2, 3, 7, 16, 17, 64, 2**16, 2**31, 2**32 - 1)
FORMATS = (
    *("bgr8; jpeg compressed bgr8", "rgb8; png compressed rgb8", "rgb16; png compressed bgr16"),
    *(
        "bayer_grbg8; jpeg compressed ",
        "bayer_rggb16; png compressed",
        "mono16; png compressed ",
        "rgb9; jpeg compressed",
    ),
)
NAMES = (*ENCODINGS, *FORMATS, "", "rgb9", "RGB8", "\u00fc\u4e16", "x" * 300)
BITS = (0, 1, 8, 10, 12, 16)


class Garbage:
    """Fields of images: good ones, in which some are replaced, and bytes are changed, cut off or added."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._pictures = [clean_image(index, 12, 16) for index in range(4)]
        self._compressed = [encode_compressed(picture, kind) for picture in self._pictures for kind in ("jpeg", "png")]
        for file, options in ((".jpg", ()), (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)), (".png", ())):
            for pixels in (self._pictures[0], self._pictures[0][..., 0]):
                self._compressed.append(cv2.imencode(file, pixels, options)[1].tobytes())
                if file == ".png":
                    self._compressed.append(cv2.imencode(file, pixels.astype(np.uint16) << 4)[1].tobytes())

    def raw(self) -> dict[str, Any]:
        """Of a sensor_msgs/Image, without its header."""
        picture = self._pictures[self._random.integers(len(self._pictures))]
        fields = vars(encode(picture, "rgb8" if self._one_in(2) else self._encoding()))
        changes = {
            "height": self._size,
            "width": self._size,
            "step": self._size,
            "encoding": lambda: NAMES[self._random.integers(len(NAMES))],
            "is_bigendian": lambda: int(self._random.integers(256)),
            "data": lambda: array.array("B", self._mutated(bytes(fields["data"]))),
        }
        return fields | {name: change() for name, change in changes.items() if self._one_in(4)}

    def compressed(self) -> dict[str, Any]:
        """Of a sensor_msgs/CompressedImage, without its header."""
        data = self._compressed[self._random.integers(len(self._compressed))]
        name = NAMES[self._random.integers(len(NAMES))] if self._one_in(4) else "jpeg"
        return {"format": name, "data": array.array("B", data if self._one_in(8) else self._mutated(data))}

    def header(self, number: int) -> Header:
        """With the frame id by which the message is known, and any stamp at all."""
        stamp = Time(sec=int(self._random.integers(-(2**31), 2**31)), nanosec=int(self._random.integers(2**32)))
        return Header(stamp=stamp, frame_id=header(number).frame_id)

    def _encoding(self) -> str:
        return str(ENCODINGS[self._random.integers(len(ENCODINGS))])

    def _one_in(self, count: int) -> bool:
        return bool(self._random.integers(count) == 0)

    def _size(self) -> int:
        return int(SIZES[self._random.integers(len(SIZES))])

    def _mutated(self, data: bytes) -> bytes:
        changed = np.frombuffer(data, np.uint8).copy()
        places = self._random.integers(0, max(len(changed), 1), self._random.integers(1, 16))
        if len(changed):
            changed[places] = self._random.integers(0, 256, len(places))
        kind = self._random.integers(4)
        if kind == 0:
            return changed[: self._random.integers(0, len(changed) + 1)].tobytes()
        return changed.tobytes() + self._random.bytes(self._random.integers(0, 64)) if kind == 1 else changed.tobytes()


def test_the_codec_answers_every_message() -> None:
    garbage, refused, slowest, sentences = Garbage(1), 0, 0.0, set[str]()
    for number in range(CODEC_MESSAGES):
        fields = garbage.raw() if number % 2 else garbage.compressed()
        began = time.perf_counter()
        try:
            bits = BITS[number % len(BITS)]
            image = decode(SimpleNamespace(**fields), bits)
            assert isinstance(remark(SimpleNamespace(**fields), image, bits), str)
        except ZmaskError as error:
            sentences.add(str(error))
            refused += 1
        else:
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size
        slowest = max(slowest, time.perf_counter() - began)
    assert all(sentences)
    assert 0 < refused < CODEC_MESSAGES
    assert slowest < SLOWEST_S
    rows = [("messages", str(CODEC_MESSAGES)), ("refused with a sentence", str(refused))]
    report("codec", ("What", "Figure"), [*rows, ("crashes", "0"), ("slowest", f"{slowest * 1e3:.0f} ms")])


def test_the_running_node_flags_every_message(tmp_path: Path) -> None:
    parameters = tiny_parameters(tmp_path, f"{NAMESPACE}/raw/", f"{NAMESPACE}/small/")
    parameters |= {"cameras": ["raw", "small"], "small.image_transport": "compressed", "timeout_s": 60.0}
    garbage, client = Garbage(2), Client(NAMESPACE)
    try:
        with StartedNode("defense_node", parameters, NAMESPACE) as process:
            cameras = (
                Camera(client, Image, "raw/image_raw", "raw/zmask/attack"),
                Camera(client, CompressedImage, "small/image_raw/compressed", "small/zmask/attack"),
            )
            for number in range(NODE_MESSAGES):
                camera = cameras[number % 2]
                if number % 2:
                    camera.send(CompressedImage(header=garbage.header(number), **garbage.compressed()))
                else:
                    camera.send(Image(header=garbage.header(number), **garbage.raw()))
                wanted = (number + 2 - number % 2) // 2 - ON_THE_WAY
                client.until(lambda c=camera, w=wanted: len(c.flags) >= w, "the flags of what was sent before")
            client.until(lambda: sum(len(c.flags) for c in cameras) >= NODE_MESSAGES, "all flags")
            assert process.end()[0] == 0
            assert "Traceback" not in process.output
    finally:
        client.close()
    flags = [flag for camera in cameras for flag in camera.flags]
    numbers = sorted(int(flag.header.frame_id.removeprefix("camera_")) for flag in flags)
    assert numbers == list(range(NODE_MESSAGES))
    unknown = sum(flag.state == AttackFlag.UNKNOWN for flag in flags)
    rows = [("messages, flags", f"{NODE_MESSAGES}, {len(flags)}"), ("flags UNKNOWN", str(unknown))]
    report("node", ("What", "Figure"), [*rows, ("crashes, hangs", "0, 0")])

#!/usr/bin/env bash
# An av.Packet made of Python's bytes does not copy them, but keeps them until FFmpeg releases the packet. With frame
# threads that is a thread of the decoder, after decode() has returned, and it needs Python's lock for it. Whoever drops a
# decoder holds that lock and waits for these threads: a process that reads parts of videos hung there for good, once in
# hundreds of decoders. av.Packet(size) with update() copies, and its release needs no lock.
# Here decoders are drained before they go; all that is looked at is who holds the bytes.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.2.6 || exit 2

"$folder/bin/python" - <<'END'
import sys
from fractions import Fraction

import av
import numpy as np


def encoded(count: int) -> list[bytes]:
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 1280, 720, "yuv420p", Fraction(1, 25)
    context.framerate, context.options = Fraction(25, 1), {"tune": "zerolatency"}
    random = np.random.default_rng(0)
    frames = (av.VideoFrame.from_ndarray(random.integers(0, 255, (720, 1280, 3), np.uint8), "rgb24") for _ in range(count))
    packets = []
    for number, frame in enumerate(frames):
        frame.pts = number
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets


def copied(data: bytes) -> av.Packet:
    packet = av.Packet(len(data))
    packet.update(data)
    return packet


def held_after_decode(make) -> int:
    """How many of the packets' bytes somebody else still holds when decode() has returned and the packet is gone."""
    data = encoded(4)
    before = [sys.getrefcount(own) for own in data]
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count, decoder.thread_type = 4, "FRAME"
    for packet in map(make, data):
        decoder.decode(packet)
    del packet
    after = [sys.getrefcount(own) for own in data]
    decoder.decode(None)
    return sum(now > earlier for now, earlier in zip(after, before, strict=True))


seen = {"Packet(bytes)": held_after_decode(av.Packet), "Packet(size), update": held_after_decode(copied)}
print("version: PyAV", av.__version__)
print("expected: nothing of Python's is held by the decoder's threads")
print("seen, packets of 4 whose bytes are still held after decode():", seen)
sys.exit(not (seen["Packet(bytes)"] > 0 and seen["Packet(size), update"] == 0))
END

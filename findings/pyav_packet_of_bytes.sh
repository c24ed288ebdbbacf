#!/usr/bin/env bash
# An av.Packet made of Python's bytes does not copy them, but keeps them until FFmpeg releases the packet. With frame
# threads that is a thread of the decoder, after decode() has returned, and it needs Python's lock for it. Whoever drops a
# decoder holds that lock and waits for these threads: a process that reads parts of videos hung there for good, once in
# hundreds of decoders. av.Packet(size) with update() copies, and its release needs no lock.
# Here nothing is decoded; all that is looked at is whose memory a packet is in.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.2.6 || exit 2

"$folder/bin/python" - <<'END'
import sys

import av
import numpy as np


def copied(data: bytes) -> av.Packet:
    packet = av.Packet(len(data))
    packet.update(data)
    return packet


def address(data: bytes | av.Packet) -> int:
    return np.frombuffer(data, np.uint8).__array_interface__["data"][0]


def holds_the_bytes(make) -> bool:
    """Whether a packet is in the very memory of the bytes that it was made of, and keeps them."""
    data = bytes(range(100))
    before = sys.getrefcount(data)
    packet = make(data)
    return address(packet) == address(data) and sys.getrefcount(data) > before


seen = {"Packet(bytes)": holds_the_bytes(av.Packet), "Packet(size), update": holds_the_bytes(copied)}
print("version: PyAV", av.__version__)
print("expected: a packet has memory of FFmpeg's own")
print("seen, whether it is in the memory of Python's bytes:", seen)
sys.exit(seen != {"Packet(bytes)": True, "Packet(size), update": False})
END

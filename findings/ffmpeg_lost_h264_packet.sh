#!/usr/bin/env bash
# FFmpeg's H.264 decoder says nothing when a whole packet is missing: it gives wrong pictures, none of them marked as
# corrupt, even if it is asked to fail on errors.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check numpy==2.2.6 av==17.1.0 || exit 2

"$folder/bin/python" - <<'END'
import sys
from fractions import Fraction

import av
import numpy as np

COUNT, GROUP, LOST = 20, 10, 3
encoder = av.CodecContext.create("libx264", "w")
encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 320, 240, "yuv420p", Fraction(1, 20)
encoder.gop_size, encoder.options = GROUP, {"tune": "zerolatency", "preset": "veryfast"}
texture = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8).repeat(8, 0).repeat(8, 1)
packets = []
for number in range(COUNT):
    # The street moves on by six pixels a picture.
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.roll(texture, 6 * number, 1)), "rgb24")
    picture.pts = number
    packets += [bytes(packet) for packet in encoder.encode(picture)]


def decoded(packets):
    decoder = av.CodecContext.create("h264", "r")
    decoder.options = {"err_detect": "explode"}
    errors, pictures = 0, []
    for data in [*packets, None]:
        try:
            pictures += decoder.decode(None if data is None else av.Packet(data))
        except av.error.FFmpegError:
            errors += 1
    marked = sum(picture.is_corrupt for picture in pictures)
    return [picture.to_ndarray(format="gray").astype(int) for picture in pictures], errors, marked


whole, _, _ = decoded(packets)
partly, errors, marked = decoded(packets[:LOST] + packets[LOST + 1 :])
after = list(zip(whole[LOST + 1 : GROUP], partly[LOST:GROUP - 1]))
wrong = sum(np.abs(right - shown).mean() > 3 for right, shown in after)
print("version: PyAV", av.__version__, "with libavcodec", ".".join(map(str, av.library_versions["libavcodec"])))
print("expected: after a lost packet an error, or pictures that are marked as corrupt, until the next key frame")
print(f"seen: {wrong} of {len(after)} pictures are wrong, {errors} errors, {marked} pictures marked as corrupt")
sys.exit(not (wrong == len(after) and errors == 0 and marked == 0))
END

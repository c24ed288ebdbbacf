#!/usr/bin/env bash
# SVT-AV1, opened through PyAV by a process that may do so (root, as in most containers), gives the thread that called it
# real-time priority 99, SCHED_FIFO, and leaves it there when the encoder is closed. Every process that is started from
# there has it as well, and nothing else gets a core from them.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.2.6 || exit 2

"$folder/bin/python" - <<'END'
import os
import sys
from fractions import Fraction

import av
import numpy as np


def scheduled() -> tuple[int, int]:
    return os.sched_getscheduler(0), os.sched_getparam(0).sched_priority


def encode_one_frame(encoder: str) -> tuple[int, int]:
    context = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt, context.time_base = 128, 96, "yuv420p", Fraction(1, 25)
    context.framerate = Fraction(25, 1)
    context.encode(av.VideoFrame.from_ndarray(np.zeros((96, 128, 3), np.uint8), "rgb24"))
    context.encode(None)
    del context
    return scheduled()


before = scheduled()
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
except PermissionError:
    print("This process may not ask for real-time priority, so that nothing is to be seen: try it as root.")
    sys.exit(2)
os.sched_setscheduler(0, before[0], os.sched_param(before[1]))
names = {os.SCHED_OTHER: "SCHED_OTHER", os.SCHED_FIFO: "SCHED_FIFO"}
seen = {encoder: encode_one_frame(encoder) for encoder in ("libx264", "libsvtav1")}
print("version: PyAV", av.__version__)
print("expected: an encoder leaves its caller as it was:", names[before[0]])
print("seen:", {encoder: f"{names.get(policy, policy)} {priority}" for encoder, (policy, priority) in seen.items()})
sys.exit(seen != {"libx264": before, "libsvtav1": (os.SCHED_FIFO, 99)})
END

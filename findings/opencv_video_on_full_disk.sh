#!/usr/bin/env bash
# OpenCV's VideoWriter has no way to tell that the disk is full: it goes on as if all were well, to the end, and leaves
# a file that nothing can open. At most there are lines in the log; here there is none.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check numpy==2.2.6 opencv-python-headless==4.13.0.92 || exit 2

"$folder/bin/python" - "$folder" <<'END'
import resource
import sys
from pathlib import Path

import cv2
import numpy as np

folder, size, count = Path(sys.argv[1]), (320, 240), 40
texture = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8).repeat(8, 0).repeat(8, 1)


def written(name: str) -> tuple[int, str]:
    """Write a video: how many bytes it has, and what the writer has said."""
    path = folder / name
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, size)
    said = "nothing"
    try:
        answers = {writer.write(np.roll(texture, 6 * number, 1)) for number in range(count)}
        was_open = writer.isOpened()
        answers.add(writer.release())
        # OpenCV 5 answers True.
        if not answers <= {None, True} or not was_open:
            said = f"write and release answer {answers}, isOpened {was_open}"
    except cv2.error as error:
        said = f"error: {error}"
    return path.stat().st_size, said


def readable(name: str) -> int:
    """How many pictures can be read of a video."""
    reader, pictures = cv2.VideoCapture(str(folder / name)), 0
    while reader.read()[0]:
        pictures += 1
    return pictures


whole, _ = written("whole.mp4")
if readable("whole.mp4") != count:
    sys.exit(2)
print("version: OpenCV", cv2.__version__)
print(f"expected: if not all {whole} bytes of the video can be written, the writer says so")
found = True
for name, room in (("last bytes missing.mp4", whole - 100), ("half missing.mp4", whole // 2)):
    # As a full disk does, this lets a write fail.
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    got, said = written(name)
    pictures = readable(name)
    print(f"seen: {got} bytes are written, the writer says {said}, and of {count} pictures {pictures} can be read")
    found = found and said == "nothing" and got <= room and pictures == 0
sys.exit(not found)
END

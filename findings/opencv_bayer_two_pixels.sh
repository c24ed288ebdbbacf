#!/usr/bin/env bash
# OpenCV makes a black image of a Bayer image that is one or two pixels high or wide, without an error.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check numpy==2.2.6 opencv-python-headless==4.13.0.92 || exit 2

"$folder/bin/python" - <<'END'
import sys

import cv2
import numpy as np

sizes = [(1, 8), (2, 8), (8, 1), (8, 2), (3, 3)]
brightest = [int(cv2.cvtColor(np.full(size, 200, np.uint8), cv2.COLOR_BayerRGGB2RGB).max()) for size in sizes]
print("version: OpenCV", cv2.__version__)
print("expected: an even grey of 200 stays 200 whatever the size:", dict.fromkeys(sizes, 200))
print("seen:", dict(zip(sizes, brightest)))
sys.exit(brightest != [0, 0, 0, 0, 200])
END

#!/usr/bin/env bash
# torch.cat of a channels-last map and a channels-last map that was expanded to the same batch gives a map that is not
# channels last: with one image it is, with two it is not, and whatever is pooled after that is many times slower.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check torch==2.12.1 numpy==2.2.6 || exit 2

"$folder/bin/python" - <<'END'
import sys

import torch


def stays_channels_last(images: int) -> bool:
    maps = torch.rand(images, 8, 4, 6).to(memory_format=torch.channels_last)
    padding = torch.zeros(1, 8, 4, 6).to(memory_format=torch.channels_last).expand(images, -1, -1, -1)
    return torch.cat([maps, padding], 1).is_contiguous(memory_format=torch.channels_last)


seen = {images: stays_channels_last(images) for images in (1, 2, 4)}
print("version: torch", torch.__version__)
print("expected: channels last, whatever the number of images:", dict.fromkeys(seen, True))
print("seen:", seen)
sys.exit(seen != {1: True, 2: False, 4: False})
END

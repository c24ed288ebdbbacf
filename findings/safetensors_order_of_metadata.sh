#!/usr/bin/env bash
# safetensors writes the entries of the metadata in an order that is drawn anew for each call: the same tensors with the same
# metadata give other bytes each time, and so another digest. Without metadata they always give the same.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.2.6 || exit 2

"$folder/bin/python" - <<'END'
import hashlib
import sys
from importlib.metadata import version

import numpy as np
from safetensors.numpy import load, save

TIMES = 16
tensors = {"mean": np.arange(4, dtype=np.float32), "count": np.array([7])}
metadata = {"format": "1", "made by": "a fit", "seed": "3", "camera": "front"}


def digests(metadata: dict[str, str] | None) -> int:
    return len({hashlib.sha256(save(tensors, metadata)).hexdigest() for _ in range(TIMES)})


same = all(np.array_equal(value, tensors[name]) for name, value in load(save(tensors, metadata)).items())
with_metadata, without = digests(metadata), digests(None)
print("version: safetensors", version("safetensors"))
print(f"expected: one digest of what was saved {TIMES} times in one process, with metadata as without")
print(f"seen: {with_metadata} digests with metadata, {without} without; the tensors are read back as they were: {same}")
sys.exit(not (same and without == 1 < with_metadata))
END

#!/usr/bin/env bash
# torch.set_flush_denormal(True) reaches the thread that calls it, and those that begin later. Where torch has computed
# with several threads before, its workers go on as they were: of one product, the caller's share is flushed to zero and
# theirs is not, and is as slow as ever. No error, and True is returned.
set -euo pipefail
unset PYTHONPATH OMP_NUM_THREADS
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check torch==2.12.1 numpy==2.2.6 || exit 2

"$folder/bin/python" - <<'END'
import sys

import torch

torch.set_num_threads(2)
numbers = torch.full((1 << 20,), 1e-38)
numbers * 0.1  # torch's workers begin
supported = torch.set_flush_denormal(True)
product = numbers * 0.1
# By its bits: comparing numbers would flush them as well.
zeros = int((product.view(torch.int32) == 0).sum())
print("version: torch", torch.__version__)
if not supported:
    print("This CPU cannot flush.")
    sys.exit(2)
print(f"expected: {len(product)} of {len(product)} products are zero")
print(f"seen: {zeros} of {len(product)} products are zero")
sys.exit(not 0 < zeros < len(product))
END

#!/usr/bin/env bash
# torch.set_num_threads reaches the thread that calls it, and those that use torch for the first time later. A thread that begins
# while another has set 1 for a moment keeps 1 for good, also after it was set back; one that began before never hears of it.
set -euo pipefail
unset PYTHONPATH OMP_NUM_THREADS
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check torch==2.12.1 numpy==2.2.6 || exit 2

"$folder/bin/python" - <<'END'
import sys
from concurrent.futures import ThreadPoolExecutor

import torch

torch.set_num_threads(4)
with ThreadPoolExecutor(1) as earlier, ThreadPoolExecutor(1) as meanwhile:
    earlier.submit(torch.get_num_threads).result()
    torch.set_num_threads(1)
    during = [pool.submit(torch.get_num_threads).result() for pool in (earlier, meanwhile)]
    torch.set_num_threads(4)
    after = [pool.submit(torch.get_num_threads).result() for pool in (earlier, meanwhile)]
here = torch.get_num_threads()
print("version: torch", torch.__version__)
print("expected: 1 in both of two other threads while 1 is set, and 4 in both after 4 is set again")
print(f"seen: {during} while 1 is set, {after} after 4 is set again, where the thread that sets it has {here}")
sys.exit((during, after, here) != ([4, 1], [4, 1], 4))
END

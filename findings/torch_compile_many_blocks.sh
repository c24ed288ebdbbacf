#!/usr/bin/env bash
# torch.compile on one module after the other compiles the first 8 of a class; the others run as they were, with a line
# in the log and no error, although each was given to torch.compile by itself.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check torch==2.12.1 numpy==2.2.6 || exit 2

"$folder/bin/python" - <<'END'
import sys

import torch
from torch import nn
from torch._dynamo.testing import CompileCounter


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(4, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).relu()


counter = CompileCounter()
blocks = [Block(width) for width in range(1, 13)]
compiled = [torch.compile(block.forward, backend=counter) for block in blocks]
for forward in compiled:
    forward(torch.zeros(2, 4))
print("version: torch", torch.__version__)
print("expected: each of", len(blocks), "blocks is compiled once")
print("seen:", counter.frame_count, "are compiled")
sys.exit(counter.frame_count != 8)
END

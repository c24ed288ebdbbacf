#!/usr/bin/env bash
# torch.onnx.export leaves out the divisor of an average pooling that names one, in both of its exporters and without a word:
# the model that it writes divides by the size of the window instead.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check torch==2.12.1 numpy==2.2.6 \
    onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2 || exit 2

"$folder/bin/python" - <<'END'
import io
import logging
import sys
import warnings

import onnxruntime
import torch
from torch import nn

# What it says by the way: of a deprecated exporter, and of torchvision, which is not needed.
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)


def exported(network: nn.Module, x: torch.Tensor, dynamo: bool) -> float:
    file = io.BytesIO()
    torch.onnx.export(network, (x,), file, dynamo=dynamo, verbose=False)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    return float(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0].max())


x = torch.ones(1, 1, 4, 4)
sums = nn.AvgPool2d(2, divisor_override=1).eval()
wanted = float(sums(x).max())
seen = {f"dynamo={dynamo}": exported(sums, x, dynamo) for dynamo in (False, True)}
print("version: torch", torch.__version__, "and ONNX Runtime", onnxruntime.__version__)
print("expected: sums over windows of 2 x 2 ones, as in torch:", dict.fromkeys(seen, wanted))
print("seen:", seen)
sys.exit(not (wanted == 4 and set(seen.values()) == {1.0}))
END

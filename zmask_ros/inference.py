"""What a network can run in: the choice that descriptions, commands and the node offer."""

from __future__ import annotations

from typing import Literal, get_args

Runtime = Literal["torch", "onnx", "auto"]
"""What a network runs in beside a defense; ``auto`` is ONNX Runtime where it says the same as torch."""
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)

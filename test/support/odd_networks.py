"""Networks that differ from the tiny one in what they put out: for tests of how networks come in."""

from __future__ import annotations

from torch import Tensor, nn

from support import tiny_network


class Wrapped(nn.Module):
    """The tiny network with another kind of output: a dict, a tuple, or text."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner = tiny_network.build(0)
        self.kind = kind

    def forward(self, x: Tensor) -> object:
        logits = self.inner(x)
        return {"dict": {"out": logits, "aux": None}, "tuple": (logits, None), "text": "no"}[self.kind]


class Fragile(nn.Module):
    """The tiny network, whose output lives on digits that half precision does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny_network.build(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + 1e4 - 1e4

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


def layer(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """A 3x3 convolution that halves the resolution with a stride of 2."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


def one_layer() -> nn.Module:
    """A network with a single layer beside its classifier."""
    return nn.Sequential(layer(3, 8), layer(8, 3))


def no_layer() -> nn.Module:
    """A network that is nothing but a classifier."""
    return nn.Sequential(layer(3, 3))


def of_one_resolution() -> nn.Module:
    """A network of six layers that never changes its resolution."""
    return nn.Sequential(layer(3, 8), *(layer(8, 8) for _ in range(5)), layer(8, 3))


class EncoderDecoder(nn.Module):
    """Halves the resolution three times; its decoder brings it back, with an activation that the encoder uses, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first = layer(3, 8, 2)
        self.second = nn.Sequential(layer(8, 8, 2), layer(8, 8))
        self.third, self.last = layer(8, 8, 2), layer(8, 8)
        self.activation = nn.ReLU()
        self.up = nn.Upsample(scale_factor=4)
        self.decoder = layer(8, 8)
        self.classifier = nn.Sequential(nn.Upsample(scale_factor=2), layer(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        y = self.last(self.third(self.second(self.activation(self.first(x)))))
        return self.classifier(self.activation(self.decoder(self.up(y))))

"""Networks that are odd in one way each, around the tiny one: for tests of how networks come in."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from support import tiny_network


class ModelOutput(OrderedDict):
    """A dict whose entries are attributes as well, as transformers returns."""

    def __getattr__(self, name: str) -> object:
        return self[name]


@dataclass
class Output:
    """An object with logits."""

    logits: Tensor
    loss: Tensor | None = None


Named = namedtuple("Named", ["features", "logits"])

FORMS = {
    "tensor": lambda logits: logits,
    "view": lambda logits: F.pad(logits, (1, 1, 1, 1))[:, :, 1:-1, 1:-1],
    "dict": lambda logits: {"aux": None, "out": logits},
    "logits": lambda logits: {"loss": None, "logits": logits},
    "model output": lambda logits: ModelOutput(loss=None, logits=logits),
    "object": lambda logits: Output(logits),
    "named tuple": lambda logits: Named(logits.relu(), logits),
    "tuple": lambda logits: (logits, None),
    "list": lambda logits: [logits, logits.relu()],
    "tuple of a dict": lambda logits: ({"out": logits}, None),
    "text": lambda logits: "no",
    "nothing": lambda logits: None,
    "labels": lambda logits: logits.argmax(1),
    "class map": lambda logits: logits.argmax(1, keepdim=True),
    "other key": lambda logits: {"masks": logits},
    "no batch": lambda logits: logits[0],
    "not finite": lambda logits: logits / 0,
    "small": lambda logits: F.avg_pool2d(logits, 4),
    "one channel": lambda logits: logits[:, :1],
    "probability": lambda logits: logits[:, :1].sigmoid(),
    "first image": lambda logits: logits[:1],
}
"""What may be returned for logits [B, 3, H, W]."""


class Wrapped(nn.Module):
    """The tiny network with another of `FORMS` of output."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner = tiny_network.build(0)
        self.kind = kind

    def forward(self, x: Tensor) -> object:
        return FORMS[self.kind](self.inner(x))


class Talking(nn.Module):
    """The tiny network, which prints whenever it is built or runs."""

    def __init__(self) -> None:
        super().__init__()
        print("net with 3 branches")
        self.inner = tiny_network.build(0)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        print("shape", tuple(x.shape))
        return self.inner(x)


class Fragile(nn.Module):
    """The tiny network, whose output lives on digits that half precision does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny_network.build(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + 1e4 - 1e4


class UNet(nn.Module):
    """Halves its input ``depth`` times and joins what it doubles again with that: sides must be even as often."""

    def __init__(self, depth: int = 5) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(8 if i else 3, 8, 3, 2, 1) for i in range(depth)])
        self.up = nn.ModuleList([nn.Conv2d(16, 8, 3, 1, 1) for _ in range(depth - 1)])
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = []
        for layer in self.down:
            x = layer(x).relu()
            maps.append(x)
        for layer, skipped in zip(self.up, maps[-2::-1], strict=True):
            x = layer(torch.cat([F.interpolate(x, scale_factor=2), skipped], 1)).relu()
        return self.head(F.interpolate(x, scale_factor=2))


class Patches(nn.Module):
    """Cuts images into patches and knows a place for each, as vision transformers do: sides of one size alone."""

    def __init__(self, patch: int, sides: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.patch = patch
        self.embed = nn.Conv2d(3, 8, patch, patch)
        self.place = None if sides is None else nn.Parameter(torch.zeros(1, 8, *(side // patch for side in sides)))
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        assert not any(side % self.patch for side in x.shape[-2:]), "the image is no whole number of patches"
        x = self.embed(x)
        return self.head(x if self.place is None else x + self.place)


class Broken(nn.Module):
    """Needs another argument than the image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(self.conv(x), size)


class InPlace(nn.Module):
    """The tiny network, which writes into its input and into the output of its first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, _, *others = tiny_network.build(0)
        self.others = nn.Sequential(*others)

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(0.5).add_(0.1)
        return self.others(self.first(x).relu_())


class Shadowing(nn.Sequential):
    """The tiny network with attributes and methods called as those of `nn.Module`, and a dot in a layer's name."""

    def __init__(self) -> None:
        super().__init__()
        first, *others = tiny_network.build(0)
        setattr(self, "stem.conv", first)
        self.others = nn.Sequential(*others)
        self.others.type = "decoder"
        self.others.to = self.others.half = None
        self.type, self.half, self.float, self.parameters, self.modules = "tiny", 2, False, {"layers": 3}, []
        self.forward_features = nn.Identity()

    def to(self, device: str) -> None:
        raise RuntimeError("call it by its class")

    def train(self, mode: bool = True) -> None:
        """Returns nothing, and forgets its layers."""

    def forward(self, x: Tensor) -> Tensor:
        assert not self.others.training
        return self.others(self.forward_features(getattr(self, "stem.conv")(x)))


class Trainer(nn.Sequential):
    """The tiny network with a `train` that trains."""

    def __init__(self) -> None:
        super().__init__(*tiny_network.build(0))

    def train(self, batches: list[Tensor], epochs: int) -> None:
        raise RuntimeError("nobody wants to train here")


class Renaming(Trainer):
    """One whose parameters cannot be found."""

    def named_parameters(self) -> dict[str, Tensor]:
        return {}


class Reusing(nn.Module):
    """One convolution and one in-place ReLU that run twice each, and a ModuleDict."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.shared = nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.heads = nn.ModuleDict({"seg": nn.Conv2d(6, 3, 1)})

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        return self.heads["seg"](self.relu(self.shared(self.shared(x))))


class Tied(nn.Module):
    """Two heads that share their weights, and a view of them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.head, self.aux = nn.Conv2d(8, 3, 1), nn.Conv2d(8, 3, 1)
        self.aux.weight, self.aux.bias = self.head.weight, self.head.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu())


def failing() -> nn.Module:
    raise FileNotFoundError("no such\nfile")


def leaving() -> nn.Module:
    raise SystemExit(2)


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(6, 3), nn.Conv2d(6, 3, 1))


def scripted() -> nn.Module:
    return torch.jit.script(tiny_network.build(0))


def parallel() -> nn.Module:
    return nn.DataParallel(tiny_network.build(0))


def compiled() -> nn.Module:
    return torch.compile(tiny_network.build(0))  # type: ignore[return-value]


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


def unwrapped_stem() -> nn.Module:
    """A network whose first convolution, norm and activation are in no block, but the next ones are."""
    stem = layer(3, 8), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
    block = nn.Sequential(layer(8, 8), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(*stem, block, layer(8, 3))


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


class Branches(nn.Module):
    """A block whose output is what its branches put out, side by side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.left, self.right = layer(channels, 8), layer(channels, 8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 16, H, W]."""
        return torch.cat([self.left(x), self.right(x)], 1)


class Pooled(nn.Module):
    """A block that looks at a coarser map for a while."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool, self.conv = nn.AvgPool2d(2), layer(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """As large as ``x``."""
        return x + F.interpolate(self.conv(self.pool(x)), scale_factor=2.0)


class BranchingEncoder(nn.Module):
    """An encoder within a network whose coarsest blocks branch, and whose first decoder layer lies less deep."""

    def __init__(self) -> None:
        super().__init__()
        first = layer(3, 8, 2), Pooled(8), layer(8, 8, 4)
        self.encoder = nn.Sequential(*first, Branches(8), Branches(16), layer(16, 8))
        self.norm = nn.BatchNorm2d(8)
        self.decoder = nn.Sequential(nn.Upsample(scale_factor=8), layer(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        return self.decoder(self.norm(self.encoder(x)))


class Tokens(nn.Module):
    """A block of a transformer, which takes and gives tokens [B, N, C]: only the convolutions in it have maps."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.reduced = layer(channels, channels, reduction)
        self.values, self.mixed = nn.Linear(channels, channels), layer(channels, channels)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Tokens as many as there were."""
        maps = tokens.transpose(1, 2).unflatten(2, (height, width))
        keys = self.reduced(maps).flatten(2).transpose(1, 2)
        seen = tokens + F.scaled_dot_product_attention(tokens, keys, self.values(keys))
        return self.mixed(seen.transpose(1, 2).unflatten(2, (height, width))).flatten(2).transpose(1, 2)


class Pyramid(nn.Module):
    """A pyramid of transformers, as of SegFormer."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList([layer(3, 8, 4), layer(8, 8, 2)])
        self.blocks = nn.ModuleList([Tokens(8, 4), Tokens(8, 2)])
        self.decoder = nn.Sequential(nn.Upsample(scale_factor=8), layer(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        for embed, block in zip(self.embeddings, self.blocks, strict=True):
            x = embed(x)
            height, width = x.shape[-2:]
            x = block(x.flatten(2).transpose(1, 2), height, width).transpose(1, 2).unflatten(2, (height, width))
        return self.decoder(x)


class Level(nn.Module):
    """A level of a U-Net that holds the next one: halves, has the next level go on, and doubles."""

    def __init__(self, levels: int, channels: int) -> None:
        super().__init__()
        self.down = layer(channels, 8, 2)
        self.next = Level(levels - 1, 8) if levels > 1 else nn.Identity()
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """As large as ``x``."""
        return self.up(self.next(self.down(x)))


def nested_unet() -> nn.Module:
    """A U-Net of four levels, each within the one before."""
    return nn.Sequential(Level(4, 3), layer(8, 3))


class Stem(nn.Module):
    """A module that halves twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layer(3, 8, 2), layer(8, 8, 2)

    def forward(self, x: Tensor) -> Tensor:
        """A quarter as large as ``x``."""
        return self.second(self.first(x))


def stem_that_halves_twice() -> nn.Module:
    """A network whose finest maps are within its stem."""
    return nn.Sequential(Stem(), layer(8, 8), layer(8, 8, 2), layer(8, 8), nn.Upsample(scale_factor=8), layer(8, 3))


class CoarseScores(nn.Module):
    """An encoder of four resolutions, at the coarsest of which its last two layers are class scores."""

    def __init__(self) -> None:
        super().__init__()
        halved = layer(3, 12, 2), layer(12, 12, 2), layer(12, 12, 2), layer(12, 12, 2)
        self.encoder = nn.Sequential(*halved, layer(12, 9))
        self.norm = nn.BatchNorm2d(9)
        self.up = nn.ConvTranspose2d(9, 9, 16, 16)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the first three of nine classes."""
        return self.up(self.norm(self.encoder(x)))[:, :3]


class Attending(nn.Module):
    """torch's own encoder layers between two convolutions: in eval mode, torch runs each as one operation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 4, 4)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
        self.second, self.head = layer(16, 16), nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        first = self.first(x)
        tokens = self.encoder(first.flatten(2).transpose(1, 2))
        return self.head(self.second(tokens.transpose(1, 2).reshape(first.shape)) + first)


class Spectral(nn.Module):
    """The tiny network on what is left of an image after its Fourier transform: ONNX knows no complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny_network.build(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(torch.fft.ifft2(torch.fft.fft2(x)).real)


class Counting(nn.Module):
    """The tiny network, which sees things otherwise in company: what an export of one image cannot know."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny_network.build(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) if len(x) == 1 else -self.inner(x)


class Forking(nn.Module):
    """Two encoders that never meet before the head; only the first one is tapped."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layer(3, 8, 2), layer(3, 4)
        self.inner = layer(8, 8)
        self.head = nn.Conv2d(15, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.interpolate(self.inner(self.first(x).relu()), x.shape[-2:])
        return self.head(torch.cat([inner, self.second(x), x], 1))


class Undifferentiable(torch.autograd.Function):
    """Passes on what it gets, and refuses to go back."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        raise NotImplementedError


class RefusingGradient(nn.Module):
    """The tiny network, whose gradient somebody has not implemented."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny_network.build(0)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        return Undifferentiable.apply(self.inner(x))


class WithoutGradient(nn.Module):
    """The tiny network, which nobody can differentiate."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny_network.build(0)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        with torch.no_grad():
            return self.inner(x)

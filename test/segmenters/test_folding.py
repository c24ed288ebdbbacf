"""Batch normalization folded into convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from support.neighbourly import segmenter
from zmask_ros.segmenters import with_folded_norms


class Block(nn.Module):
    """A convolution with its normalization, and one of something else; where it ``looks``, it reads the convolution."""

    def __init__(self, looks: bool = False) -> None:
        super().__init__()
        self.looks = looks
        self.convolution = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.other = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 2, 1)
        generator = torch.Generator().manual_seed(0)
        for norm in (self.norm, self.other):
            for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
                values.copy_(torch.rand(4, generator=generator) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        convolved = self.convolution(x)
        normed = self.other(self.norm(convolved).relu())
        return self.last(normed + convolved if self.looks else normed)


def images() -> Tensor:
    return torch.rand(2, 3, 60, 80, generator=torch.Generator().manual_seed(1))


def test_a_norm_is_folded_into_the_convolution_that_it_alone_follows() -> None:
    plain = segmenter(Block())
    folded = with_folded_norms(plain)
    assert isinstance(folded.network.norm, nn.Identity) and isinstance(folded.network.other, nn.BatchNorm2d)
    assert isinstance(plain.network.norm, nn.BatchNorm2d), "the segmenter itself stays"
    torch.testing.assert_close(folded.logits(images()), plain.logits(images()), rtol=1e-4, atol=1e-5)
    assert folded.digest == plain.digest


def test_what_somebody_reads_stays() -> None:
    plain = segmenter(Block())
    assert isinstance(with_folded_norms(plain, ["convolution"]).network.norm, nn.BatchNorm2d)
    # The network itself reads it.
    looking = segmenter(Block(looks=True))
    assert with_folded_norms(looking) is looking


def test_a_convolution_that_runs_twice_stays() -> None:
    class Twice(Block):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + super().forward(x.flip(-1)).flip(-1)

    assert isinstance(with_folded_norms(segmenter(Twice())).network.norm, nn.BatchNorm2d)

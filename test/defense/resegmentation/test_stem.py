"""Segmenting again only what a mask has changed."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from zmask_ros.defense.resegmentation.stem import Stem, StemTap, masked_logits
from zmask_ros.defense.resegmentation.stem_search import find_stem

SIZE = (93, 130)


@dataclass
class Plain:
    """A network and no more."""

    network: nn.Module
    input_size: tuple[int, int] = SIZE
    device = torch.device("cpu")

    def logits(self, x: Tensor) -> Tensor:
        output = self.network(x)
        return output["out"] if isinstance(output, dict) else output

    def scores(self, x: Tensor) -> Tensor:
        return self.logits(x)


def convolution(taken: int, given: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(taken, given, kernel, stride, kernel // 2), nn.ReLU(inplace=True))


@pytest.fixture(scope="module")
def lraspp() -> Plain:
    torch.manual_seed(0)
    return Plain(lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5).eval())


@pytest.fixture(scope="module")
def stem(lraspp: Plain) -> Stem:
    found = find_stem(lraspp)
    assert found is not None
    return found


def names(network: nn.Module, stem: Stem | None) -> list[str]:
    known = {id(module): name for name, module in network.named_modules()}
    return [] if stem is None else [known[id(step.module)] for step in stem.modules]


def test_a_stem_ends_where_a_network_looks_at_all_of_the_image(lraspp: Plain, stem: Stem) -> None:
    found = names(lraspp.network, find_stem(Plain(lraspp.network, (360, 480))))
    assert found == [*(f"backbone.{n}" for n in range(4)), "backbone.4.block.0", "backbone.4.block.1"]
    # Of a smaller image, its blocks see too much before that.
    assert names(lraspp.network, stem) == ["backbone.0", "backbone.1", "backbone.2"]
    assert [(step.stride, step.reach) for step in stem.modules] == [(2, 1), (2, 3), (4, 5)]


spans = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


@settings(deadline=None, max_examples=40)
@given(spans, spans, st.integers(1, 2), st.integers(0, 99))
def test_what_goes_on_from_the_stem_is_what_all_of_the_image_gives(lraspp, stem, rows, columns, batch, seed):
    x = torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(batch, 1, *SIZE)
    top, bottom, left, right = (int(share * n) for pair, n in zip((rows, columns), SIZE, strict=True) for share in pair)
    mask[0, 0, top:bottom, left:right] = 1
    mask[-1, 0, 40:50, 20:30] = 1
    with torch.inference_mode():
        with StemTap(stem) as tap:
            lraspp.logits(x)
        expected = masked_logits(lraspp, x, mask)
        torch.testing.assert_close(masked_logits(lraspp, x, mask, tap.output), expected, rtol=1e-4, atol=1e-5)
    assert not any("forward" in vars(module) for module in lraspp.network.modules())


def test_nothing_hidden_changes_nothing(lraspp: Plain, stem: Stem) -> None:
    x = torch.randn(1, 3, *SIZE)
    with torch.inference_mode():
        with StemTap(stem) as tap:
            expected = lraspp.logits(x)
        assert torch.equal(masked_logits(lraspp, x, torch.zeros(1, 1, *SIZE), tap.output), expected)


def test_a_network_runs_as_before_after_an_error_in_between(lraspp: Plain, stem: Stem) -> None:
    x = torch.randn(1, 3, *SIZE)
    with StemTap(stem) as tap:
        lraspp.logits(x)
    assert tap.output is not None
    with pytest.raises(ZeroDivisionError), stem.resume_from(tap.output.output, x):
        raise ZeroDivisionError
    assert not any("forward" in vars(module) for module in lraspp.network.modules())


class Skipping(nn.Module):
    """Four convolutions; the last one also sees what is called ``skipped``: the image, or a convolution's output."""

    def __init__(self, skipped: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([convolution(3, 4), convolution(4, 4), convolution(4, 4)])
        self.last = nn.Conv2d(4 + (4 if skipped else 3), 2, 1)
        self.skipped = skipped

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return self.last(torch.cat([maps[-1], maps[self.skipped]], 1))


@pytest.mark.parametrize(("skipped", "expected"), [(0, []), (1, ["blocks.0"]), (2, ["blocks.0", "blocks.1"])])
def test_a_stem_holds_nothing_that_is_looked_at_from_elsewhere(skipped: int, expected: list[str]) -> None:
    torch.manual_seed(0)
    network = Skipping(skipped)
    assert names(network, find_stem(Plain(network))) == expected


class Levelling(nn.Module):
    """Takes the mean over the image from each channel, by no module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y - y.mean((2, 3), keepdim=True)


def test_what_sees_all_of_the_image_is_no_stem() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(Levelling(), nn.Conv2d(4, 2, 1))
    assert names(network, find_stem(Plain(network))) == ["0.conv"]
    assert find_stem(Plain(nn.Sequential(nn.InstanceNorm2d(3), nn.Conv2d(3, 2, 1)))) is None


def test_cells_that_do_not_lie_evenly_over_the_image_are_no_stem() -> None:
    torch.manual_seed(0)
    assert find_stem(Plain(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)))) is None
    assert find_stem(Plain(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 2, 3, padding=1)))) is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_go_on_from_it_as_well(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(convolution(3, 4, 3, 2), nn.Conv2d(4, 2, 3, padding=1)).to(dtype)
    segmenter = Plain(network)
    segmenter.logits = lambda x: network(x.to(dtype)).float()  # type: ignore[method-assign]
    assert names(network, find_stem(segmenter)) == ["0", "1"]


def test_a_network_is_searched_once_for_each_size_and_not_held() -> None:
    network, calls = nn.Sequential(convolution(3, 4), nn.Conv2d(4, 2, 1)), []
    network.register_forward_hook(lambda *_: calls.append(1))
    stem = find_stem(Plain(network))
    once = len(calls)
    assert find_stem(Plain(network)) is stem and len(calls) == once > 0
    assert find_stem(Plain(network, (48, 64))) is not stem and len(calls) > once
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


class Unseen(nn.Module):
    """Pools by a function, so that no module says how far it sees, and then scales by a word."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return nn.functional.max_pool2d(self.conv(x), 3, 2, 1) * scale


class Named(nn.Module):
    """Calls a module with a keyword, and changes its output in place by no module of its own."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first, self.norm, self.last = first, nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x, scale=2.0) if isinstance(self.first, Unseen) else self.first(x)
        return self.last(nn.functional.relu(self.norm(x), inplace=True))


def test_what_modules_do_not_tell_is_found_out() -> None:
    torch.manual_seed(0)
    unseen = nn.Sequential(Unseen(), nn.Conv2d(4, 2, 1)).eval()
    assert find_stem(Plain(unseen, (360, 480))) is None
    named = Named(Unseen()).eval()
    assert names(named, find_stem(Plain(named, (360, 480)))) == ["first.conv"]
    between = Named(nn.Conv2d(3, 4, 3, padding=1)).eval()
    assert names(between, find_stem(Plain(between))) == ["first", "norm"]


def test_what_was_compiled_is_left_alone() -> None:
    network = nn.Sequential(convolution(3, 4), nn.Conv2d(4, 2, 1))
    network[0].forward = network[0].forward  # as a compiler leaves it
    assert find_stem(Plain(network)) is None


def test_strides_and_reaches_add_up() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(convolution(3, 4, 5, 2), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, padding=2, dilation=2))
    stem = find_stem(Plain(network, (240, 320)))
    assert stem is not None
    assert [(step.stride, step.reach) for step in stem.modules] == [(2, 2), (4, 4), (4, 12)]
    assert names(network, find_stem(Plain(network, (100, 100)))) == ["0", "1"]  # the third sees 12 pixels of 100

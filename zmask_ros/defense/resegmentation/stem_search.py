"""Search for the stem of a network: which of its first modules make a `Stem`, found by watching one pass and tested."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from zmask_ros.defense.evidence.grid import Size
from zmask_ros.defense.resegmentation.inpainting import inpaint
from zmask_ros.defense.resegmentation.stem import Stem, StemModule, StemTap, masked_logits
from zmask_ros.defense.segmentation_network import SegmentationNetwork

MOST_REACH = 1 / 12
"""Share of the shorter side of the image: modules that see further need nearly all of the image again."""
Place = tuple[float, float]
TESTED_PLACES: tuple[Place, ...] = ((0.45, 0.6), (0.0, 0.2), (0.85, 1.0))
"""Where the masks that a stem is tested with begin and end, along both sides, as shares of them."""
GLARE = 30.0
"""Value of the hidden pixels of normalized images: far from what the network knows."""
MOST_DIFFERENCE, MOST_DIFFERENCE_IN_HALF = 1e-4, 0.03
"""Largest difference, in standard deviations of the output that is compared: above rounding in single and in half
precision. CUDA's convolutions round as half precision does."""

_stems: WeakKeyDictionary[nn.Module, dict[Size, Stem | None]] = WeakKeyDictionary()
"""Known stems by network and input size: several profiles may share a network, and a search takes several passes."""


def find_stem(segmenter: SegmentationNetwork) -> Stem | None:
    """The longest stem of a network that sees no further than `MOST_REACH`; None where it has none.

    A compiled network has none: it would be compiled again for each size of a window. A network is searched once, and
    again only for another size of the image.
    """
    known = _stems.setdefault(segmenter.network, {})
    if segmenter.input_size not in known:
        known[segmenter.input_size] = _search(segmenter)
    return known[segmenter.input_size]


@torch.inference_mode()
def _search(segmenter: SegmentationNetwork) -> Stem | None:
    if any("forward" in vars(module) for module in nn.Module.modules(segmenter.network)):
        return None
    x = torch.randn(1, 3, *segmenter.input_size, generator=torch.Generator().manual_seed(0)).to(segmenter.device)
    calls = _watch(segmenter, x)
    steps: list[StemModule] = []
    while (longer := _longer(steps, calls, x)) is not None:
        steps = longer
    for length in range(len(steps), 0, -1):
        stem = Stem(tuple(steps[:length]))
        if _passes(_is_local_everywhere, stem, x) and _passes(_network_resumes, stem, segmenter, x):
            return stem
    return None


@dataclass
class Call:
    """A module that was called once in a pass.

    Attributes:
        module: the module.
        began: when it began, as the number of beginnings and ends of modules before that.
        ended: when it ended, likewise.
        input: None where it is not a single tensor.
        output: None where it is not a single tensor.
    """

    module: nn.Module
    began: int
    ended: int = 0
    input: Tensor | None = None
    output: Tensor | None = None

    @property
    def maps_one_to_one(self) -> bool:
        """Whether it makes one feature map of one tensor."""
        return self.input is not None and self.output is not None and self.output.dim() == 4


def _watch(segmenter: SegmentationNetwork, x: Tensor) -> list[Call]:
    """The modules of the network that are called exactly once for ``x``; the network itself comes first."""
    calls: list[Call] = []
    running: list[Call] = []
    turns = itertools.count()

    def begin(module: nn.Module, inputs: tuple[object, ...], named: dict[str, object]) -> None:
        only = inputs[0] if len(inputs) == 1 and not named and isinstance(inputs[0], Tensor) else None
        running.append(Call(module, next(turns), input=only))
        calls.append(running[-1])

    def end(module: nn.Module, inputs: object, output: object) -> None:
        call = running.pop()
        call.ended, call.output = next(turns), output if isinstance(output, Tensor) else None

    modules = list(nn.Module.modules(segmenter.network))
    handles = [m.register_forward_pre_hook(begin, with_kwargs=True) for m in modules]
    handles += [m.register_forward_hook(end) for m in modules]
    try:
        segmenter.logits(x)
    finally:
        for handle in handles:
            handle.remove()
    often = Counter(id(call.module) for call in calls)
    return [call for call in calls if often[id(call.module)] == 1]


def _longer(steps: list[StemModule], calls: list[Call], x: Tensor) -> list[StemModule] | None:
    """The stem with one more module, the outermost that sees no more than is allowed; None where there is none."""
    before = next((call for call in calls if steps and call.module is steps[-1].module), None)
    taken, turn = (before.output, before.ended) if before else (calls[0].input, calls[0].began)
    for call in calls:
        if call.input is taken and call.began > turn and call.maps_one_to_one:
            step = _step(steps, call, calls, x)
            near = step.reach <= MOST_REACH * min(x.shape[-2:])
            even = step.shape[1:] == tuple(-(-n // step.stride) for n in x.shape[-2:])
            if near and even and _passes(_is_local, Stem((*steps, step)), x, TESTED_PLACES[0]):
                return [*steps, step]
    return None


def _step(steps: list[StemModule], call: Call, calls: list[Call], x: Tensor) -> StemModule:
    assert call.output is not None
    inside = [other for other in calls if call.began <= other.began and other.ended <= call.ended]
    reach = (steps[-1].reach if steps else 0) + sum(_reach(other, x) for other in inside)
    _, channels, height, width = call.output.shape
    return StemModule(call.module, (channels, height, width), -(-x.shape[-2] // height), reach)


def _reach(call: Call, x: Tensor) -> int:
    """How far a module's own kernel reaches from its center, in pixels of the image; 0 for modules without one."""
    kernel = getattr(call.module, "kernel_size", None)
    if kernel is None or call.input is None:
        return 0
    lengths = kernel if isinstance(kernel, tuple) else (kernel,)
    dilations = getattr(call.module, "dilation", 1)
    dilation = max(dilations) if isinstance(dilations, tuple) else dilations
    return -(-dilation * (max(lengths) - 1) // 2) * -(-x.shape[-2] // call.input.shape[-2])


def _passes(test: Callable[..., bool], *arguments: object) -> bool:
    """Whether a test succeeds; one that raises fails, since networks do anything between their modules."""
    try:
        return test(*arguments)
    except Exception:
        return False


def _is_local_everywhere(stem: Stem, x: Tensor) -> bool:
    """`_is_local` for every offset between a mask and the stem's cells, and at the borders of the image."""
    offsets = all(_is_local(stem, x, TESTED_PLACES[0], shift) for shift in range(stem.last.stride))
    return offsets and all(_is_local(stem, x, place) for place in TESTED_PLACES[1:])


def _is_local(stem: Stem, x: Tensor, place: Place, shift: int = 0) -> bool:
    """Whether running the stem again near a mask gives what running it again everywhere gives."""
    shown, mask = _glaring(x, place, shift)
    # The type is the network's: the image is in single precision.
    dtype = next((weight.dtype for step in stem.modules for weight in nn.Module.parameters(step.module)), x.dtype)
    images = (shown, inpaint(shown, mask))
    before, after = (stem(image.to(dtype, memory_format=torch.channels_last)) for image in images)
    return _alike(stem.update(before, shown, mask), after, dtype)


def _network_resumes(stem: Stem, segmenter: SegmentationNetwork, x: Tensor) -> bool:
    """Whether the network says the same of a masked image when it resumes from the stem's output."""
    shown, mask = _glaring(x, TESTED_PLACES[0])
    with StemTap(stem) as tap:
        segmenter.logits(shown)
    assert tap.output is not None
    resumed, expected = (masked_logits(segmenter, shown, mask, known) for known in (tap.output, None))
    return _alike(resumed, expected, tap.output.output.dtype)


def _glaring(x: Tensor, place: Place, shift: int = 0) -> tuple[Tensor, Tensor]:
    """An image [1, 3, h, w] with a glaring square, ``shift`` pixels from its place, and the mask [1, 1, h, w] of it.

    It glares so that whatever depends on all of the image changes visibly without it, in half precision as well.
    """
    mask = torch.zeros_like(x[:, :1])
    rows, columns = (slice(*(round(share * n) + shift for share in place)) for n in x.shape[-2:])
    mask[..., rows, columns] = 1
    return x.lerp(torch.full_like(x, GLARE), mask), mask


def _alike(output: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    if output.shape != expected.shape:
        return False
    coarse = output.is_cuda or dtype in (torch.float16, torch.bfloat16)
    most = MOST_DIFFERENCE_IN_HALF if coarse else MOST_DIFFERENCE
    output, expected = output.float(), expected.float()
    # A NaN compares as false: it is not alike.
    return bool((output - expected).abs().max() <= most * expected.std())

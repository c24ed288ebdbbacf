"""Which of a network's first modules make a `Stem`: found by watching one pass, and tried out."""

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
from zmask_ros.defense.resegmentation.stem import Network, Stem, StemModule, StemTap, masked_logits

MOST_REACH = 1 / 12
"""Of the shorter side of the image: modules that see further need nearly all of the image again."""
Place = tuple[float, float]
TRIED: tuple[Place, ...] = ((0.45, 0.6), (0.0, 0.2), (0.85, 1.0))
"""Where masks begin and end along both sides, as shares of them, that a stem is tried out with."""
GLARE = 30.0
"""Of normalised images."""
MOST_DIFFERENCE, MOST_DIFFERENCE_IN_HALF = 1e-4, 0.03
"""Of the standard deviation of what is compared: above rounding. CUDA's convolutions round as half precision does."""


# Cameras with profiles of their own share a network, and a search takes several passes.
_found: WeakKeyDictionary[nn.Module, dict[Size, Stem | None]] = WeakKeyDictionary()


def find_stem(segmenter: Network) -> Stem | None:
    """The longest stem of a network that sees no further than `MOST_REACH`; None where it has none.

    A compiled network is left alone: it would be compiled anew for each size of what is run again. A network is
    searched once, and again only for another size of the image.
    """
    known = _found.setdefault(segmenter.network, {})
    if segmenter.input_size not in known:
        known[segmenter.input_size] = _search(segmenter)
    return known[segmenter.input_size]


@torch.inference_mode()
def _search(segmenter: Network) -> Stem | None:
    if any("forward" in vars(module) for module in segmenter.network.modules()):
        return None
    x = torch.randn(1, 3, *segmenter.input_size, generator=torch.Generator().manual_seed(0)).to(segmenter.device)
    calls = _watch(segmenter, x)
    steps: list[StemModule] = []
    while (longer := _longer(steps, calls, x)) is not None:
        steps = longer
    for length in range(len(steps), 0, -1):
        stem = Stem(tuple(steps[:length]))
        if _tried(_sees_no_further_anywhere, stem, x) and _tried(_serves, stem, segmenter, x):
            return stem
    return None


@dataclass
class Call:
    """A module that was called once in a pass: when it began and ended, among all of them, what it took and gave."""

    module: nn.Module
    began: int
    ended: int = 0
    taken: Tensor | None = None
    given: Tensor | None = None

    @property
    def usable(self) -> bool:
        """Whether it makes one map of one map."""
        return self.taken is not None and self.given is not None and self.given.dim() == 4


def _watch(segmenter: Network, x: Tensor) -> list[Call]:
    """The modules of the network that are called exactly once for ``x``; the network itself comes first."""
    calls: list[Call] = []
    running: list[Call] = []
    turns = itertools.count()

    def begin(module: nn.Module, inputs: tuple[object, ...], named: dict[str, object]) -> None:
        taken = inputs[0] if len(inputs) == 1 and not named and isinstance(inputs[0], Tensor) else None
        running.append(Call(module, next(turns), taken=taken))
        calls.append(running[-1])

    def end(module: nn.Module, inputs: object, output: object) -> None:
        call = running.pop()
        call.ended, call.given = next(turns), output if isinstance(output, Tensor) else None

    modules = list(segmenter.network.modules())
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
    taken, turn = (before.given, before.ended) if before else (calls[0].taken, calls[0].began)
    for call in calls:
        if call.taken is taken and call.began > turn and call.usable:
            step = _step(steps, call, calls, x)
            near = step.reach <= MOST_REACH * min(x.shape[-2:])
            even = step.shape[1:] == tuple(-(-n // step.stride) for n in x.shape[-2:])
            if near and even and _tried(_sees_no_further, Stem((*steps, step)), x, TRIED[0]):
                return [*steps, step]
    return None


def _step(steps: list[StemModule], call: Call, calls: list[Call], x: Tensor) -> StemModule:
    assert call.given is not None
    inside = [other for other in calls if call.began <= other.began and other.ended <= call.ended]
    reach = (steps[-1].reach if steps else 0) + sum(_reach(other, x) for other in inside)
    _, channels, height, width = call.given.shape
    return StemModule(call.module, (channels, height, width), -(-x.shape[-2] // height), reach)


def _reach(call: Call, x: Tensor) -> int:
    """How far a module's own window reaches from its centre, in pixels of the image; of blocks 0."""
    kernel = getattr(call.module, "kernel_size", None)
    if kernel is None or call.taken is None:
        return 0
    lengths = kernel if isinstance(kernel, tuple) else (kernel,)
    dilations = getattr(call.module, "dilation", 1)
    dilation = max(dilations) if isinstance(dilations, tuple) else dilations
    return -(-dilation * (max(lengths) - 1) // 2) * -(-x.shape[-2] // call.taken.shape[-2])


def _tried(attempt: Callable[..., bool], *arguments: object) -> bool:
    """Whether it succeeds: networks do all sorts of things between their modules, and what fails is run as a whole."""
    try:
        return attempt(*arguments)
    except Exception:
        return False


def _sees_no_further_anywhere(stem: Stem, x: Tensor) -> bool:
    """`_sees_no_further` however a mask lies to the stem's cells, and at the borders."""
    phases = all(_sees_no_further(stem, x, TRIED[0], shift) for shift in range(stem.last.stride))
    return phases and all(_sees_no_further(stem, x, place) for place in TRIED[1:])


def _sees_no_further(stem: Stem, x: Tensor, place: Place, shift: int = 0) -> bool:
    """Whether running it again near a mask gives what running all of it again gives."""
    shown, mask = _hidden(x, place, shift)
    # That of the network: the image is in single precision.
    dtype = next((weight.dtype for step in stem.modules for weight in step.module.parameters()), x.dtype)
    images = (shown, inpaint(shown, mask))
    before, after = (stem(image.to(dtype, memory_format=torch.channels_last)) for image in images)
    return _alike(stem.again(before, shown, mask), after, dtype)


def _serves(stem: Stem, segmenter: Network, x: Tensor) -> bool:
    """Whether the network says the same of a masked image when it goes on from the stem."""
    shown, mask = _hidden(x, TRIED[0])
    with StemTap(stem) as tap:
        segmenter.logits(shown)
    assert tap.kept is not None
    found, expected = (masked_logits(segmenter, shown, mask, kept) for kept in (tap.kept, None))
    return _alike(found, expected, tap.kept.output.dtype)


def _hidden(x: Tensor, place: Place, shift: int = 0) -> tuple[Tensor, Tensor]:
    """An image [1, 3, h, w] with something glaring there, ``shift`` pixels on, and the mask [1, 1, h, w] that hides it.

    It glares so that whatever takes in all of the image is not the same with it hidden, in half precision either.
    """
    mask = torch.zeros_like(x[:, :1])
    rows, columns = (slice(*(round(share * n) + shift for share in place)) for n in x.shape[-2:])
    mask[..., rows, columns] = 1
    return x.lerp(torch.full_like(x, GLARE), mask), mask


def _alike(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    if found.shape != expected.shape:
        return False
    coarse = found.is_cuda or dtype in (torch.float16, torch.bfloat16)
    most = MOST_DIFFERENCE_IN_HALF if coarse else MOST_DIFFERENCE
    found, expected = found.float(), expected.float()
    # A NaN is not small.
    return bool((found - expected).abs().max() <= most * expected.std())

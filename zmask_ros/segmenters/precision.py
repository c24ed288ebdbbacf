"""Lower precision and compilation of a network, with its outputs compared to those in float32.

A lower precision or a compiler changes what a network puts out by a little. How little is measured whenever a network
is loaded, on images that are the same everywhere. A network whose outputs differ too much is refused: nobody should
drive by labels that differ from those that were evaluated.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from zmask_ros.segmenters.description import Description, SegmenterError
from zmask_ros.segmenters.network import compute_logits
from zmask_ros.segmenters.trial import make_test_images

MOST_DIFFERENCE = 0.02
"""Mean difference of the class probabilities over pixels and classes that is accepted, 0..1."""
MOST_CHANGED = 0.02
"""Share of the pixels that may have another label, 0..1."""


def apply_precision(network: nn.Module, description: Description, device: torch.device) -> nn.Module:
    """``network`` with the precision and the compilation that its description asks for, after a check of its outputs.

    Args:
        network: float32, in eval mode.
        description: of the network, with `precision` and `compiled`.
        device: where the network is.

    Raises:
        SegmenterError: it cannot be run so on this machine, or puts out something else than in float32.
    """
    if description.precision == "float32" and not description.compiled:
        return network
    x = make_test_images(description.input_size).to(device)
    with torch.inference_mode():
        expected = compute_logits(network, x, description)
    try:
        faster = nn.Module.to(copy.deepcopy(network), getattr(torch, description.precision))
        if description.compiled:
            compile_blocks(faster)
        with torch.inference_mode():
            found = compute_logits(faster, x, description)
    # A missing compiler and an operation that a precision lacks are reported in many ways.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise SegmenterError(
            f"Segmenter '{description.name}' cannot be run with {_settings(description)} on this machine "
            f"({type(error).__name__}: {reason}): use precision float32, and compile false."
        ) from error
    _refuse_differences(expected, found, description)
    return faster


def compile_blocks(network: nn.Module, mode: str | None = None) -> None:
    """Compile the blocks of ``network``, two levels deep: each for itself and in place.

    A network that is compiled as a whole has no layers left that could be tapped.

    Args:
        network: to compile.
        mode: of `torch.compile`; None: its default.
    """
    children = nn.Module.children(network)
    blocks = [block for child in children for block in list(nn.Module.children(child)) or [child]]
    for block in blocks:
        compiled = torch.compile(_with_own_code(block.forward), mode=mode, dynamic=False)
        block.forward = compiled  # type: ignore[method-assign]


def _with_own_code(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls ``forward`` and that shares its code with no other.

    What torch compiles it keeps by the code that it comes from, 8 times at most. The blocks of a network have that in
    common where they are of one class: those beyond the eighth would run uncompiled, without an error.
    """

    def call(*inputs: Any, **named: Any) -> Any:
        return forward(*inputs, **named)

    return FunctionType(call.__code__.replace(), call.__globals__, call.__name__, None, call.__closure__)


def _refuse_differences(expected: Tensor, found: Tensor, description: Description) -> None:
    """Compare logits [B, K, h, w]; raises SegmenterError where they differ too much."""
    difference = float((expected.softmax(1) - found.softmax(1)).abs().mean())
    changed = float((expected.argmax(1) != found.argmax(1)).float().mean())
    # A NaN is not small.
    if not (difference <= MOST_DIFFERENCE and changed <= MOST_CHANGED):
        raise SegmenterError(
            f"Segmenter '{description.name}' with {_settings(description)} strays from float32: class probabilities by "
            f"{difference:.3f} (at most {MOST_DIFFERENCE}), labels of {changed:.1%} of the pixels "
            f"(at most {MOST_CHANGED:.0%}): use another precision."
        )


def _settings(description: Description) -> str:
    return f"precision {description.precision}" + (" and compile true" if description.compiled else "")

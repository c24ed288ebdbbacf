"""Faster ways to run a network, each held against float32 when it is loaded.

A lower precision or a compiler changes what a network puts out by a little. How little is measured on the spot, on
pictures that are the same everywhere, and a network that strays too far is refused: labels that differ from what was
evaluated are nothing to drive by.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmask_ros.segmenters.description import Description, SegmenterError
from zmask_ros.segmenters.network import network_logits

PICTURES = 2
BLOCK = 24
"""Pixels of the colour fields in a check picture."""
MOST_DIFFERENCE = 0.02
"""Of a class probability, mean over pixels and classes, 0..1."""
MOST_CHANGED = 0.02
"""Share of the pixels that may have another label."""


def quickened(network: nn.Module, description: Description, device: torch.device) -> nn.Module:
    """``network`` as its description wants it run, after a look at what that does to its output.

    Args:
        network: float32, in eval mode.
        description: with `precision` and `compiled`.
        device: where the network is.

    Raises:
        SegmenterError: it cannot be run so on this machine, or puts out something else than in float32.
    """
    if description.precision == "float32" and not description.compiled:
        return network
    x = check_pictures(description.input_size).to(device)
    faster = copy.deepcopy(network).to(getattr(torch, description.precision))
    if description.compiled:
        compile_blocks(faster)
    with torch.inference_mode():
        expected = network_logits(network, x, description)
        try:
            found = network_logits(faster, x, description)
        # A missing compiler and an operation that a precision lacks are reported in many ways.
        except Exception as error:
            reason = str(error).strip().partition("\n")[0][:200]
            raise SegmenterError(
                f"Segmenter '{description.name}' cannot be run with {_settings(description)} on this machine "
                f"({type(error).__name__}: {reason}): use precision float32, and compile false."
            ) from error
    _check(expected, found, description)
    return faster


def check_pictures(size: tuple[int, int]) -> Tensor:
    """Fields of colour with soft and with hard borders, about normalised: [2, 3, h, w]; always the same."""
    generator = torch.Generator().manual_seed(0)
    fields = torch.randn(PICTURES, 3, -(-size[0] // BLOCK), -(-size[1] // BLOCK), generator=generator)
    soft = F.interpolate(fields[:1], size, mode="bilinear", align_corners=False)
    return torch.cat([soft, F.interpolate(fields[1:], size, mode="nearest")])


def compile_blocks(network: nn.Module) -> None:
    """Have the blocks of ``network``, two levels deep, compiled: each for itself and in place.

    A network that is compiled as a whole has no layers left to tap, or to take a patch out of.
    """
    for child in network.children():
        for block in list(child.children()) or [child]:
            block.forward = torch.compile(block.forward)  # type: ignore[method-assign]


def _check(expected: Tensor, found: Tensor, description: Description) -> None:
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

"""From clean frames and patches to a plan: which layers and kernels tell the two apart in this network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from zmask_ros.calibrating import Part, coverage, pictures
from zmask_ros.defense import ActivationTaps, Plan, Profile, bind, working_grid
from zmask_ros.defense.layer_choice import (
    CandidateStatistics,
    LayerChoice,
    Observed,
    candidate_heat,
    choose_layers,
)
from zmask_ros.defense.taps import feature_layers
from zmask_ros.errors import ZmaskError
from zmask_ros.fitting import GRID_FRACTION, default_plan, kernels_on
from zmask_ros.segmenters import Segmenter

# Shares of the image's height and width, largest first.
MENU = (0.21, 0.11, 0.05, 0.0)
LEAST_SIDE = 6
JUDGE_EVERY = 4
MOST_JUDGING = 40
MOST_STATISTICS = 120


def candidate_layers(segmenter: Segmenter) -> tuple[str, ...]:
    """Layers down to two levels below the network, whose maps are large enough to say where something is."""
    grey = torch.zeros(1, 3, *segmenter.input_size, device=segmenter.device)
    with torch.inference_mode():
        layers = feature_layers(segmenter.network, lambda: segmenter.logits(grey))
    return tuple(name for name, (_, height, width) in layers.items() if min(height, width) >= LEAST_SIDE)


def with_edge(segmenter: Segmenter, profile: Profile) -> Profile:
    """``profile`` whose masks end where the finest of the network's first layers says, if that is finer than the grid.

    The first ones are those up to the first of S: what a decoder brings back to full size has seen all of the image.
    """
    layers = bind(segmenter, candidate_layers(segmenter) + profile.shallow.layers).shapes
    names = list(layers)
    first = names[: min(names.index(layer) for layer in profile.shallow.layers) + 1]
    finest = max(first, key=lambda name: layers[name][1:])
    if min(own - cells for own, cells in zip(layers[finest][1:], profile.grid, strict=True)) <= 0:
        return profile
    sharper = replace(profile, growth=replace(profile.growth, edge=finest))
    return replace(sharper, binding=bind(segmenter, sharper.bound_layers))


def choosing_passes(part: Part) -> int:
    """Number of images that `choose_plan` sends through the network."""
    clean, judging = _divide(part)
    return len(clean.frames) + judging.pictures


@torch.inference_mode()
def choose_plan(segmenter: Segmenter, part: Part, seen: Callable[[], None] = lambda: None) -> tuple[Plan, LayerChoice]:
    """The plan with the layers and kernels that do best on ``part``, and why.

    Every fourth frame judges, the others give the candidates' clean statistics; the growth is that of the default plan.

    Args:
        seen: called after each image that went through the network.

    Raises:
        ZmaskError: the network has no layer that could be tapped.
    """
    grid = working_grid(segmenter.input_size, GRID_FRACTION)
    kernels = kernels_on(grid, MENU)
    layers = candidate_layers(segmenter)
    if not layers:
        raise ZmaskError(f"Segmenter '{segmenter.name}' has no layer that could be tapped: see `zmask segmenters`.")
    clean, judging = _divide(part)
    taps = ActivationTaps(segmenter.network, layers)
    statistics = CandidateStatistics(layers, kernels, grid)
    for frame in clean.frames:
        with taps:
            segmenter.logits(segmenter.prepare(frame))
            statistics.add(taps)
        seen()
    makers = statistics.heat_makers()
    heats, truths, harmless = [], [], []
    for image, patch_mask, harmless_mask in pictures(judging):
        with taps:
            segmenter.logits(segmenter.prepare(image))
            heats.append(candidate_heat(makers, taps, grid))
        truths.append(coverage(patch_mask, grid))
        harmless.append(coverage(harmless_mask, grid))
        seen()
    stacked = {layer: torch.cat([heat[layer] for heat in heats]) for layer in makers}
    choice = choose_layers(Observed(stacked, torch.cat(truths), torch.cat(harmless)), kernels)
    return _plan(segmenter, choice), choice


def _divide(part: Part) -> tuple[Part, Part]:
    judging = [i for i in range(len(part.frames)) if i % JUDGE_EVERY == JUDGE_EVERY - 1][:MOST_JUDGING]
    clean = [i for i in range(len(part.frames)) if i % JUDGE_EVERY != JUDGE_EVERY - 1][:MOST_STATISTICS]
    one, other = (replace(part, frames=tuple(part.frames[i] for i in chosen)) for chosen in (clean, judging))
    return one, other


def _plan(segmenter: Segmenter, choice: LayerChoice) -> Plan:
    growth = default_plan(segmenter).growth
    grid = working_grid(segmenter.input_size, GRID_FRACTION)
    binding = bind(segmenter, choice.shallow.layers + choice.deep.layers)
    return Plan(binding, choice.shallow, choice.deep, growth, GRID_FRACTION, grid)

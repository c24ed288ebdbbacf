"""Patches of graded strength to learn from, as the paper trains its fusion block (Z-Mask, AAAI 2023, Section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import torch

from zmask_ros.attacks import Recipe, Step, to_uint8, train_patch
from zmask_ros.attacks.recipe import patch_side
from zmask_ros.defense import Profile
from zmask_ros.progress import Progress, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.sources import CleanFrame, NamedPatch

GRADES = (1.0, 0.5)
"""beta of the strongest and of the weakest patch."""
PATCH_SIDES = ((0.45, 0.45), (0.36, 0.36), (0.27, 0.27), (0.27, 0.54))
"""Heights and widths, as shares of the network's input height."""


def graded_recipes(count: int, steps: int, input_size: tuple[int, int]) -> tuple[Recipe, ...]:
    """Recipes of ``count`` patches, of strengths ``GRADES[0]`` to ``GRADES[1]`` and of several sizes."""
    strengths = torch.linspace(*GRADES, count).tolist()
    sides = [[patch_side(share, input_size) for share in shares] for shares in PATCH_SIDES]
    return tuple(
        Recipe(size=(height, width), steps=steps, beta=beta, seed=seed)
        for seed, (beta, (height, width)) in enumerate(zip(strengths, cycle(sides), strict=False))
    )


def train_graded_patches(
    segmenter: Segmenter,
    profile: Profile,
    frames: Sequence[CleanFrame],
    count: int,
    steps: int,
    progress: Progress = silent,
) -> list[NamedPatch]:
    """``count`` patches, trained on the frames that are not held out; the network's own labels are taken for right."""
    known = [(frame.image, None) for frame in frames if not frame.held_out]
    trained = []
    with progress("Training patches", "steps", count * steps) as advance:

        def show(step: Step) -> None:
            advance(note=f"{step.pixel_accuracy:.1%} of pixels right")

        for recipe in graded_recipes(count, steps, segmenter.input_size):
            patch = train_patch(segmenter, known, recipe, show, profile).patch
            name = f"trained here ({recipe.size[1]}x{recipe.size[0]}, beta {recipe.beta:.2g}, seed {recipe.seed})"
            trained.append(NamedPatch(name, to_uint8(patch)))
    return trained

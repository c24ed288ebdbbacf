"""What a patch does to a network alone, without a defense: before and after an adversarial fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from zmask_ros.attacks import paste_at_random, to_uint8, train_patch
from zmask_ros.attacks.recipe import patch_side
from zmask_ros.evaluation.baselines.interface import segment
from zmask_ros.evaluation.metrics.segmentation import Confusion
from zmask_ros.progress import Progress, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.adversaries import ALIKE, plain_recipe
from zmask_ros.training.division import evenly

SIDE = 0.36
"""Of the patch, as a share of the image's height: a tenth of an image whose sides are as 3 to 4."""
SEED, PLACES_SEED = 90_001, 3
"""Of the patch, and of its places: no opponent of a fine-tuning has it."""
JUDGED = 40
"""Frames, at most."""


@dataclass(frozen=True)
class Robustness:
    """What a network says of frames that it has not learned from, against what another one says of them when clean.

    Attributes:
        clean, attacked: mIoU in 0..1, without the patch and with it, outside of it.
        clean_pixels, attacked_pixels: share of the pixels that are called the same, 0..1.
    """

    clean: float
    attacked: float
    clean_pixels: float
    attacked_pixels: float


@dataclass(frozen=True)
class RobustnessTrial:
    """What a network is attacked with, and judged on: images uint8 [h, w, 3] RGB, each with its labels uint8 [h, w].

    Attributes:
        learned: what the patch is optimized over.
        unseen: what it is judged on.
    """

    learned: Sequence[tuple[np.ndarray, np.ndarray]]
    unseen: Sequence[tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, right: Segmenter, learned: Sequence[np.ndarray], unseen: Sequence[np.ndarray]) -> RobustnessTrial:
        """Of some frames to learn from and at most `JUDGED` others; what ``right`` says of the clean ones is right."""
        known, judged = ([(image, segment(right, image)) for image in own] for own in (learned, evenly(unseen, JUDGED)))
        return cls(known, judged)

    def robustness(self, segmenter: Segmenter, steps: int, progress: Progress = silent) -> Robustness:
        """Attack a network with a patch that is always seen alike, and see what it does on other frames.

        Args:
            segmenter: the network that is attacked, without a defense.
            steps: of the attack, from noise.
            progress: shows them.
        """
        side = patch_side(SIDE, segmenter.input_size)
        recipe = replace(plain_recipe(segmenter.input_size, steps), size=(side, side), eot=ALIKE, seed=SEED)
        with progress("Trying a patch", "steps", steps) as advance:
            patch = to_uint8(train_patch(segmenter, self.learned, recipe, lambda step: advance()).patch)
        places = torch.Generator().manual_seed(PLACES_SEED)
        clean, attacked = (Confusion(len(segmenter.classes)) for _ in range(2))
        for image, truth in self.unseen:
            shown, hidden = paste_at_random(image, patch, ALIKE, places)
            clean.add(segment(segmenter, image), truth)
            attacked.add(segment(segmenter, shown), truth, ~hidden)
        return Robustness(clean.miou(), attacked.miou(), clean.pixel_accuracy(), attacked.pixel_accuracy())

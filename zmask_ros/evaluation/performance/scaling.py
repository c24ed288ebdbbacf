"""How the cost of the defense grows: with the network, its input, and the layers that its head reads.

The defense is fitted to a few frames and its evidence head is not trained: its output is meaningless, but its cost is
the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zmask_ros.defense import Defense, Profile, Threshold
from zmask_ros.defense.profile.detector import coarser
from zmask_ros.evaluation.performance.timing import time_pairs
from zmask_ros.progress import Advance, no_advance
from zmask_ros.segmenters import Description, Segmenter, build_segmenter
from zmask_ros.training.adversarial import with_untrained_head
from zmask_ros.training.clean_fit import ProfileFit
from zmask_ros.training.plans import plan_for
from zmask_ros.training.screening import SCREEN_INPUTS
from zmask_ros.training.sources import CleanFrame

FITTED_FRAMES = 25
FALSE_ALARM_RATE = 0.01
CLASSES = 21
MOBILE = ("backbone.2", "backbone.4", "backbone.8", "backbone.12")
RESNET = ("backbone.layer1", "backbone.layer2", "backbone.layer3")
TORCHVISION = {
    "lraspp_mobilenet_v3_large": MOBILE,
    "deeplabv3_mobilenet_v3_large": MOBILE,
    "deeplabv3_resnet50": RESNET,
    "fcn_resnet50": RESNET,
}
"""Builders, and the layers that the head reads: the first is also S, the last one D."""


@dataclass(frozen=True)
class Cost:
    """Medians over frames.

    Attributes:
        plain_ms: Time of the plain network, in milliseconds.
        clean, two_pass: DefenseResult over plain, on frames that are not flagged, and on frames that are.
    """

    plain_ms: float
    clean: float
    two_pass: float


def measure_cost(
    segmenter: Segmenter, images: Sequence[np.ndarray], layers: tuple[str, ...], advance: Advance = no_advance
) -> Cost:
    """The cost of a defense of ``segmenter`` whose head reads ``layers``.

    Args:
        segmenter: The network.
        images: Street frames, uint8 [H, W, 3] RGB; each is two steps of ``advance``.
        layers: Names of layers, at least one.
        advance: Counts images.
    """
    defense, measured = Defense(segmenter, untrained_profile(segmenter, images, layers)), []
    for threshold in (math.inf, -math.inf):
        defense.threshold = threshold
        measured.append(time_pairs(segmenter, defense, images, advance))
    clean, attacked = measured
    return Cost(float(np.median(clean.plain)), clean.ratio.median, attacked.ratio.median)


def untrained_profile(segmenter: Segmenter, images: Sequence[np.ndarray], layers: tuple[str, ...]) -> Profile:
    """A profile that costs what a calibrated one does: fitted to a few frames, with a head that is not trained.

    Args:
        segmenter: the network.
        images: street frames, uint8 [H, W, 3], at least one.
        layers: that the head reads.
    """
    fit = ProfileFit(segmenter, plan_for(segmenter, layers[:1], layers[-1:]))
    few = [images[index % len(images)] for index in range(FITTED_FRAMES)]
    fit.add_all(CleanFrame("street", "frames", index, image) for index, image in enumerate(few))
    return with_untrained_head(segmenter, fit.finish(FALSE_ALARM_RATE), layers, few[:2])


def with_untrained_screen(
    segmenter: Segmenter, profile: Profile, images: Sequence[np.ndarray], layers: tuple[str, ...]
) -> Profile:
    """``profile`` with a screen that is not trained, reads these layers and lets every frame pass."""
    begun = profile.with_detector(coarser(profile.detector))
    screen = with_untrained_head(segmenter, begun, layers, images[:2], SCREEN_INPUTS)
    return profile.with_screen(screen, Threshold(math.inf, FALSE_ALARM_RATE, len(images), 0.0))


def torchvision_segmenter(builder: str, input_size: tuple[int, int], device: str) -> Segmenter:
    """One of `TORCHVISION` with random weights."""
    layers, mean, std = TORCHVISION[builder], (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    classes = {str(index): (index, index, index) for index in range(CLASSES)}
    ends = layers[:1], layers[-1:]
    return build_segmenter(
        Description(builder, Path(), builder, classes, mean, std, input_size, *ends, layers, layers), device
    )

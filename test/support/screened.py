"""A profile with a screen that does not have to be trained, for tests of the cascade."""

from __future__ import annotations

import numpy as np
import torch

from support import tiny_network
from support.patched_street import PATCH
from support.profiles import with_changed
from zmask_ros.defense import ActivationTaps, StreamingDefense, Threshold
from zmask_ros.defense.analyzer import head_features
from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.evidence.head import Head
from zmask_ros.defense.masking.discriminant import discriminant
from zmask_ros.defense.profile.detector import coarser
from zmask_ros.training.adversarial import with_untrained_head
from zmask_ros.training.screening import SCREEN_INPUTS

FRAMES = [tiny_network.clean_image(index) for index in range(24)]
LAYERS = ("2",)


def screened_profile(segmenter, fitted):
    """``fitted`` with a screening that knows one colour, which clean images never have."""
    with_layers = with_untrained_head(
        segmenter, fitted.with_detector(coarser(fitted.detector)), LAYERS, FRAMES, inputs=SCREEN_INPUTS
    )
    begun = with_layers.detector
    shapes, branch = with_layers.binding.shapes, begun.head.branch
    features = head_features(begun.statistics, shapes, with_layers.grid, branch, FeatureKind.CHANNELS).groups[0]
    with torch.inference_mode(), ActivationTaps(segmenter.network, LAYERS) as taps:

        def cells(images):
            segmenter.logits(torch.cat([segmenter.prepare(image) for image in images]))
            return torch.cat(features(taps), 1).permute(0, 2, 3, 1).flatten(0, 2).double()

        attention, offset = discriminant(cells([np.full_like(FRAMES[0], PATCH)]), cells(FRAMES))
    untrained = begun.head
    weights = {name: torch.zeros_like(tensor) for name, tensor in untrained.tensors.items()}
    weights["inner"][0], weights["inner_bias"][0] = attention, offset
    weights["outer"][0], weights["outer_bias"][0] = 20.0, -6.0
    head = Head(untrained.branch, untrained.kind, **weights)
    return fitted.with_screen(with_changed(with_layers, head=head), Threshold(0.5, 0.1, 16, 0.5))


def set_screen_bias(streaming: StreamingDefense, bias: float) -> None:
    """Make the screen see a patch everywhere, for a large bias, or nowhere, for a very negative one."""
    streaming.cascade.screening.evidence.head.outer_bias.fill_(bias)

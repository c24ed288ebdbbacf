"""How much room there is between clean frames and patches for a head that has met neither the network nor an attack.

A head that was trained on other networks scores higher on one network and lower on the next, and higher on a drive that
it was not fitted on than on those it was. Clean frames say how low an alarm's threshold may be. How high it may be
only a patch says: a quick one, of an attacker who knows nothing of the defense. It is weaker than what others
will take their time for, which makes it a careful guess.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from zmask_ros.attacks import paste_at_random, to_uint8
from zmask_ros.attacks.patch_attack import unjudged_patches
from zmask_ros.defense import Defense, Profile
from zmask_ros.errors import ZmaskError, describe_error
from zmask_ros.progress import Progress, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.adversaries import SEEN, plain_recipe
from zmask_ros.training.clean_fit import CleanMeasurements
from zmask_ros.training.division import evenly

TRIAL_STEPS = 60
"""Of the patch's optimizer."""
TRIAL_FRAMES = 24
"""Clean ones that it is optimized over and scored on."""
TRIAL_SEED = 77
UNTRIED = "No patch could be tried on this network"
"""What the note begins with of a profile whose alarm is set by clean frames alone."""
ALONE = "So the alarm's threshold is set by clean frames alone, and drives of another place may exceed it."
WEAKEST_SHARE = 0.1
"""Of the frames with patches, those that may score less than what the others do at least: the margin between clean
frames and patches ends there."""


class TrialError(ZmaskError):
    """A patch could not be tried, with what follows from that."""


def with_margin(
    segmenter: Segmenter, measured: CleanMeasurements, false_alarm_rate: float, progress: Progress = silent
) -> Profile:
    """The profile of clean frames; where its head is of other networks, the alarm is between them and a patch.

    Args:
        segmenter: the network.
        measured: what the frames gave.
        false_alarm_rate: share of clean frames that may be flagged, in 0..1, exclusive.
        progress: shows how far it is.

    Raises:
        ProfileError: numbers overflow.
    """
    profile = measured.profile(false_alarm_rate)
    if not measured.plan.head_transfers:
        return profile
    try:
        patched = trial_score(segmenter, profile, [frame.image for frame in measured.held_out], progress)
    except TrialError as error:
        return profile.with_notes(UNTRIED, str(error))
    return measured.profile(false_alarm_rate, patched=patched)


def trial_score(
    segmenter: Segmenter, profile: Profile, images: Sequence[np.ndarray], progress: Progress = silent
) -> float:
    """What nearly all frames score with a quick patch that knows nothing of the defense, at many sizes and places.

    Args:
        segmenter: the network.
        profile: whose scores they are.
        images: clean frames, uint8 [h, w, 3] RGB each, at the network's input size; some of them are taken.
        progress: shows how far it is.

    Raises:
        TrialError: the network cannot be differentiated, or there is no memory for it, or its scores are not finite.
    """
    frames = evenly(images, TRIAL_FRAMES)
    try:
        pictures = to_uint8(_trial_patch(segmenter, frames, progress))
        places = torch.Generator().manual_seed(TRIAL_SEED)
        pasted = [paste_at_random(frame, pictures, SEEN, places)[0] for frame in frames]
        patched = weakest(scores(segmenter, profile, pasted))
    # A user's network may raise anything where it is differentiated or gets two images at once: fitting does neither.
    except Exception as error:
        raise TrialError(f"{UNTRIED} ({describe_error(error)}). {ALONE}") from error
    if not math.isfinite(patched):
        raise TrialError(f"{UNTRIED} (its scores are not finite then). {ALONE}")
    return patched


def _trial_patch(segmenter: Segmenter, frames: Sequence[np.ndarray], progress: Progress) -> Tensor:
    """Patches, float [1, 3, h, w] in 0..1."""
    recipe = replace(plain_recipe(segmenter.input_size, TRIAL_STEPS), seed=TRIAL_SEED)
    with progress("Trying a patch", "steps", recipe.steps) as advance:
        return unjudged_patches(segmenter, recipe, [(frame, None) for frame in frames], advance)


def weakest(patched: Sequence[float]) -> float:
    """What nearly all frames with patches score."""
    return float(np.quantile(patched, WEAKEST_SHARE))


@torch.inference_mode()
def scores(segmenter: Segmenter, profile: Profile, images: Sequence[np.ndarray]) -> list[float]:
    """The score of each image, uint8 [h, w, 3] RGB."""
    defense = Defense(segmenter, profile)
    return [float(defense.analyze(segmenter.prepare(image))[1].score) for image in images]

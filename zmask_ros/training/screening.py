"""Train a profile's screen: a small head, against attackers who want to stay below its threshold and no more.

The head of the main detector is trained in the same way. A screen has less to do: it need not say where a patch is, and
a frame that it hands on in vain costs a full analysis and not a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from zmask_ros.defense import Defense, Profile
from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.profile.detector import coarser
from zmask_ros.errors import ZmaskError
from zmask_ros.progress import Progress, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.adversarial import HeadInputs, train_adversarially, with_untrained_head
from zmask_ros.training.adversaries import ADVERSARY_KINDS
from zmask_ros.training.division import divide_frames
from zmask_ros.training.settings import ScreenSettings
from zmask_ros.training.sources import CleanFrame
from zmask_ros.training.thresholds import precaution_threshold

SCREEN_INPUTS = HeadInputs((0.07,), FeatureKind.CHANNELS)
"""Its features cost half as much without energies."""
SCREEN_ADVERSARIES = tuple(kind for kind in ADVERSARY_KINDS if kind.entries.get("adaptive", "flag") == "flag")
"""Nobody is masked by a screen, so nobody attacks a mask."""
NOTE = "Screening"


def check_screenable(profile: Profile) -> None:
    """Refuse a profile whose full analysis costs no more than a screen would.

    Raises:
        ZmaskError: it has no evidence head.
    """
    if profile.detector.head is None:
        raise ZmaskError(
            "The profile has no evidence head: train one with zmask calibrate --rivals before it gets a screening."
        )


def add_screen(
    segmenter: Segmenter,
    profile: Profile,
    frames: Sequence[CleanFrame],
    settings: ScreenSettings,
    layers: tuple[str, ...],
    seed: int = 0,
    progress: Progress = silent,
    state: Path | None = None,
) -> Profile:
    """``profile`` with a screen, in the place of one that it had; nothing else of it changes.

    Args:
        segmenter: the network.
        profile: with an evidence head.
        frames: clean ones, at the network's input size; the held-out ones set the threshold.
        settings: how it is trained.
        layers: that it sees.
        seed: of every random choice.
        progress: shows how far it is.
        state: see `train_adversarially`.

    Raises:
        ZmaskError: the profile has no evidence head, the frames are too few, or ``state`` belongs to another training.
    """
    check_screenable(profile)
    used, held_out = ([frame.image for frame in part] for part in divide_frames(frames))
    begun = profile.with_detector(coarser(profile.detector))
    untrained = with_untrained_head(segmenter, begun, layers, used, SCREEN_INPUTS, seed)
    steps, rate = settings.adversarial_steps, settings.rate
    with progress("Training the screening", "steps", steps) as advance:
        trained = train_adversarially(segmenter, untrained, used, steps, seed, advance, SCREEN_ADVERSARIES, rate, state)
    alone = trained.profile
    defense = Defense(segmenter, alone)
    with torch.inference_mode():
        scores = [float(defense.analyze(segmenter.prepare(frame))[1].score) for frame in held_out]
    note = f"{NOTE}: {steps} steps on {len(used)} frames, threshold from {len(held_out)} others."
    return profile.with_screen(alone, precaution_threshold(scores, rate)).with_notes(NOTE, note)

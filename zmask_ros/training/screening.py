"""Train a profile's screening: a small head, against attackers who want to stay below its threshold and no more.

The whole analysis is trained by `hardening` in the same way. A screening has less to do: it need not say where a patch
is, and a frame that it lets through in vain costs a whole analysis and not a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from zmask_ros.defense import Defense, Profile
from zmask_ros.defense.profile.detector import coarser
from zmask_ros.errors import ZmaskError
from zmask_ros.segmenters import Segmenter
from zmask_ros.training import adversaries as rivals
from zmask_ros.training.adversarial import Look, harden, with_head
from zmask_ros.training.thresholds import precaution_threshold

GLANCE = Look((0.07,), textured=False)
"""Its features cost half as much without energies."""
KINDS = tuple(kind for kind in rivals.KINDS if kind.entries.get("adaptive", "flag") == "flag")
"""Of rivals: nobody is masked by a screening, so nobody attacks a mask."""
NOTE = "Screening"
NO_HEAD = "The profile has no evidence head: train one with zmask calibrate --rivals before it gets a screening."


def check_screenable(profile: Profile) -> None:
    """Refuse a profile whose whole analysis costs no more than a screening would.

    Raises:
        ZmaskError: it has no evidence head.
    """
    if profile.detector.head is None:
        raise ZmaskError(NO_HEAD)


def with_screen(
    segmenter: Segmenter,
    profile: Profile,
    layers: tuple[str, ...],
    frames: Sequence[np.ndarray],
    held_out: Sequence[np.ndarray],
    steps: int,
    rate: float,
    advance: Callable[[float], None] = lambda loss: None,
    seed: int = 0,
) -> Profile:
    """``profile`` with a screening, in the place of one that it had; nothing else of it changes.

    Args:
        layers: that it looks at.
        frames: clean ones to learn from, uint8 [h, w, 3] at the network's input size.
        held_out: others, which set its threshold.
        steps: of its training.
        rate: share of clean frames that it may have analysed as a whole, in 0..1, exclusive.
        advance: called after each step with the loss; NaN before it learns.
        seed: of every random choice.

    Raises:
        ZmaskError: the profile has no evidence head.
    """
    check_screenable(profile)
    untrained = with_head(
        segmenter, profile.with_detector(coarser(profile.detector)), layers, frames, seed, look=GLANCE
    )
    trained = harden(segmenter, untrained, frames, steps, seed, advance, KINDS, masked_share=rate).profile
    threshold = precaution_threshold(_scores(segmenter, trained, held_out), rate)
    note = f"{NOTE}: {steps} steps on {len(frames)} frames, threshold from {len(held_out)} others."
    notes = (*(kept for kept in profile.notes if not kept.startswith(NOTE)), note)
    return replace(profile.with_screen(trained, threshold), notes=notes)


@torch.inference_mode()
def _scores(segmenter: Segmenter, profile: Profile, frames: Sequence[np.ndarray]) -> list[float]:
    defense = Defense(segmenter, profile)
    return [float(defense.analyze(segmenter.prepare(frame))[1].score) for frame in frames]

"""From clean drives to a profile, one chain: fit, calibrate, add a screen. Each step takes values and returns values.

sources -> division -> [layer selection] -> [adversarial training] -> fusion -> thresholds -> metrics -> Profile
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from zmask_ros.attacks import to_uint8
from zmask_ros.defense import Profile
from zmask_ros.defense.analyzer import Analyzer
from zmask_ros.defense.profile.profile import OURS
from zmask_ros.errors import ZmaskError
from zmask_ros.progress import Progress, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.adversarial import train_adversarially, with_untrained_head
from zmask_ros.training.clean_fit import ProfileFit
from zmask_ros.training.division import (
    IMAGES_A_FRAME,
    Material,
    check_enough_frames,
    check_enough_patches,
    divide,
    divide_frames,
)
from zmask_ros.training.examples import Examples, make_examples
from zmask_ros.training.fusion import EPOCHS
from zmask_ros.training.fusion_search import TRAININGS, FusionCandidate, candidate_growths, search_fusion
from zmask_ros.training.graded_patches import train_graded_patches
from zmask_ros.training.layer_selection import LayerSelection, select_layers, with_edge
from zmask_ros.training.metrics import Figures, figures_of, frame_scores
from zmask_ros.training.plans import FittingPlan, head_layers
from zmask_ros.training.settings import CalibrationSettings
from zmask_ros.training.sources import CleanFrame, NamedPatch, total_length
from zmask_ros.training.thresholds import clean_threshold, opening_at, precaution_threshold

NOTE = "Calibration"
"""What the notes begin with that the next calibration replaces."""
SEED_GOING_ON = 100_000
"""Of an adversarial training that goes on: other adversaries than those that began."""
HEAD_OPENINGS = tuple(opening_at(heat / 2, heat) for heat in (math.log(2), math.log(2) / 3, math.log(2) / 10))
"""Blocks for a head, whose heat says how likely a patch is: they open at one half, at a fifth, and at 7 per cent."""
PASSES_A_GRADED_STEP, PASSES_AN_ADVERSARIAL_STEP = 12, 20
"""Forward and backward of all batches of a training step, in forward passes of one image."""
SECONDS_A_FUSION_EPOCH = 0.03
TIMED_PASSES = 9


def _fit(
    segmenter: Segmenter,
    plan: FittingPlan,
    frames: Sequence[CleanFrame],
    false_alarm_rate: float,
    progress: Progress,
) -> Profile:
    fit = ProfileFit(segmenter, plan, total_length(frames))
    with progress("Fitting", "frames", len(frames)) as advance:
        fit.add_all(frames, advance)
    return fit.finish(false_alarm_rate)


@dataclass(frozen=True)
class Calibration:
    """What came of a calibration.

    Attributes:
        profile: the new one.
        before, after: figures of the old and of the new one on the held-out part.
        candidates: all fusion blocks that were tried, the chosen one first.
        selection: why its layers were chosen; None: they are as they were.
    """

    profile: Profile
    before: Figures
    after: Figures
    candidates: tuple[FusionCandidate, ...]
    selection: LayerSelection | None


def check_layers(profile: Profile, settings: CalibrationSettings) -> None:
    """Refuse to choose layers anew for a profile of the paper's variant.

    Raises:
        ZmaskError: that is asked for.
    """
    if settings.select_layers and profile.variant != OURS:
        raise ZmaskError("The layers of the paper's variant are those of its reference: leave --layers auto away.")


def calibration_seconds(segmenter: Segmenter, frames: Sequence[CleanFrame], settings: CalibrationSettings) -> float:
    """About how long `calibrate` will take on these frames."""
    looks = IMAGES_A_FRAME * len(frames) * (1 + settings.select_layers)
    graded = PASSES_A_GRADED_STEP * settings.graded_patches * settings.graded_steps
    passes = looks + graded + PASSES_AN_ADVERSARIAL_STEP * settings.adversarial_steps
    search = TRAININGS * EPOCHS * SECONDS_A_FUSION_EPOCH
    return passes * seconds_a_pass(segmenter, frames) + search


def seconds_a_pass(segmenter: Segmenter, frames: Sequence[CleanFrame]) -> float:
    """The median time of a forward pass of one of ``frames``."""
    times = []
    with torch.inference_mode():
        for frame in frames[:TIMED_PASSES]:
            began = time.perf_counter()
            segmenter.logits(segmenter.prepare(frame.image)).argmax(1).cpu()
            times.append(time.perf_counter() - began)
    # The first passes are slower than all others.
    return statistics.median(times) if times else 0.0


def calibrate(
    segmenter: Segmenter,
    profile: Profile,
    frames: Sequence[CleanFrame],
    patches: Sequence[NamedPatch],
    settings: CalibrationSettings,
    progress: Progress = silent,
    state: Path | None = None,
) -> Calibration:
    """Train what tells adversarial patches from benign ones, and set the thresholds from clean frames alone.

    Every fifth clean frame and every third patch take no part in the training; on them the old and the new profile are
    compared.

    Args:
        segmenter: the network of ``profile``.
        profile: a fitted one; its statistics are kept unless layers are chosen anew.
        frames: clean ones, at the network's input size.
        patches: adversarial ones; more are trained if the settings say so.
        settings: which steps, and how.
        progress: shows how far it is.
        state: of the head's training, see `train_adversarially`.

    Raises:
        ZmaskError: too few frames or patches, layers that cannot be chosen, or ``state`` belongs to another training.
    """
    check_layers(profile, settings)
    check_enough_patches(len(patches) + settings.graded_patches)
    check_enough_frames(frames)
    rate = settings.false_alarm_rate or profile.detector.threshold.false_alarm_rate
    adversarial = settings.adversarial_steps
    face = partial(face_adversaries, segmenter, frames=frames, steps=adversarial, progress=progress, state=state)
    selection = None
    # First of all: what it kept when it was interrupted is gone on with, or refused, before patches are trained.
    faced = None if settings.select_layers else face(profile)
    count, steps = settings.graded_patches, settings.graded_steps
    graded = train_graded_patches(segmenter, profile, frames, count, steps, progress)
    material = divide(frames, [*patches, *graded])
    held_out = make_examples(segmenter, profile, material.held_out, progress)
    before = _figures(profile, held_out)
    if faced is None:
        plan, selection = select_layers(segmenter, material.training, progress)
        faced = face(_fit(segmenter, plan, frames, rate, progress))
    if faced.profile is not profile:
        held_out = make_examples(segmenter, faced.profile, material.held_out, progress)
    profile, material = faced.profile, material.with_trained_on(faced.patches)
    if profile.variant == OURS:
        profile = with_edge(segmenter, profile)
    training = make_examples(segmenter, profile, material.training, progress)
    candidates = _search(profile, training, settings, progress)
    profile = _with_thresholds(profile, candidates[0], held_out, rate, settings.precaution_rate)
    profile = replace(profile, vote=settings.vote).with_notes(NOTE, *_notes(material))
    profile.check_finite()
    # What no defense can be made of is not to be saved.
    Analyzer(profile.detector, profile.binding)
    return Calibration(profile, before, _figures(profile, held_out), candidates, selection)


@dataclass(frozen=True)
class Faced:
    """A profile whose head was trained against adversaries, and their patches."""

    profile: Profile
    patches: tuple[NamedPatch, ...]


def face_adversaries(
    segmenter: Segmenter,
    profile: Profile,
    frames: Sequence[CleanFrame],
    steps: int,
    progress: Progress = silent,
    state: Path | None = None,
) -> Faced:
    """A head for ``profile``, trained against adversaries on those of the frames that are not held out.

    A head of the same layers is trained on, against new adversaries. Without any steps the profile is as it was.
    """
    if not steps:
        return Faced(profile, ())
    used = tuple(frame.image for frame in divide_frames(frames)[0])
    layers, seed, head = head_layers(segmenter), SEED_GOING_ON, profile.detector.head
    if head is None or head.branch.layers != layers:
        profile, seed = with_untrained_head(segmenter, profile, layers, used, progress=progress), 0
    with progress("Training the head", "steps", steps) as advance:
        trained = train_adversarially(segmenter, profile, used, steps, seed, advance, state=state)
    named = tuple(NamedPatch(f"rival {n}", to_uint8(patch)) for n, patch in enumerate(trained.patches))
    return Faced(trained.profile, named)


def _search(
    profile: Profile, training: Examples, settings: CalibrationSettings, progress: Progress
) -> tuple[FusionCandidate, ...]:
    detector = profile.detector
    # The paper's variant grows no mask.
    growths = candidate_growths(detector.growth) if profile.variant == OURS else (detector.growth,)
    untrained = (detector.fusion, *(HEAD_OPENINGS if detector.head is not None else ()))
    with progress("Training the fusion block", "epochs", TRAININGS * EPOCHS) as advance:
        return search_fusion(training, untrained, growths, settings.precaution_rate, advance)


def _with_thresholds(
    profile: Profile, chosen: FusionCandidate, held_out: Examples, false_alarm_rate: float, precaution_rate: float
) -> Profile:
    scores = frame_scores(chosen.scalars, held_out.where(held_out.clean)).tolist()
    detector = replace(
        profile.detector,
        fusion=chosen.scalars,
        growth=chosen.growth,
        threshold=clean_threshold(scores, false_alarm_rate),
        precaution=precaution_threshold(scores, precaution_rate) if precaution_rate > false_alarm_rate else None,
        patched=None,
    )
    return replace(profile, detector=detector)


def _figures(profile: Profile, examples: Examples) -> Figures:
    detector = profile.detector
    return figures_of(detector.fusion, detector.growth, detector.threshold.value, examples)


def _notes(material: Material) -> tuple[str, ...]:
    """Sentences for the profile: what was used for what."""
    return tuple(
        f"{NOTE}, {title}: {len(split.frames)} frames; patches {', '.join(patch.name for patch in split.patches)}; "
        f"harmless pictures of seed {split.seed}."
        for title, split in (("training", material.training), ("held-out check", material.held_out))
    )

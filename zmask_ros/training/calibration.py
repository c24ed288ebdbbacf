"""From a fitted profile, clean frames and patches to a calibrated one: examples, training, growth, threshold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle

import torch

from zmask_ros.attacks import Recipe
from zmask_ros.defense import Profile
from zmask_ros.defense.analyzer import Analyzer
from zmask_ros.defense.profile.profile import OURS
from zmask_ros.flags.vote import VoteRule
from zmask_ros.training.examples import Examples, Material
from zmask_ros.training.figures import Judgement, frame_scores, judge
from zmask_ros.training.fusion import EPOCHS
from zmask_ros.training.fusion_search import Block, choose_block, growths
from zmask_ros.training.thresholds import clean_threshold, opening_at, precaution_threshold

NOTE = "Calibration"
HEAD_OPENINGS = tuple(opening_at(heat / 2, heat) for heat in (math.log(2), math.log(2) / 3, math.log(2) / 10))
"""Blocks for a head, whose heat says how likely a patch is: they open at one half, at a fifth, and at 7 per cent."""
# beta of the paper's graded patches, the strongest first, and their sides as shares of the network's input height.
GRADES = (1.0, 0.5)
PATCH_SIDES = ((0.45, 0.45), (0.36, 0.36), (0.27, 0.27), (0.27, 0.54))
SMALLEST_SIDE = 8


def graded_recipes(count: int, steps: int, input_size: tuple[int, int]) -> tuple[Recipe, ...]:
    """Recipes of ``count`` patches, of strengths ``GRADES[0]`` to ``GRADES[1]`` and of several sizes."""
    strengths = torch.linspace(*GRADES, count).tolist()
    sides = [[max(SMALLEST_SIDE, round(share * input_size[0])) for share in shares] for shares in PATCH_SIDES]
    return tuple(
        Recipe(size=(height, width), steps=steps, beta=beta, seed=seed)
        for seed, (beta, (height, width)) in enumerate(zip(strengths, cycle(sides), strict=False))
    )


@dataclass(frozen=True)
class Calibration:
    """What came of it.

    Attributes:
        profile: the new one.
        after: its figures on the held-out part.
        blocks: all fusion blocks that were tried, the chosen one first.
    """

    profile: Profile
    after: Judgement
    blocks: tuple[Block, ...]


def calibrate(
    profile: Profile,
    training: Examples,
    held_out: Examples,
    false_alarm_rate: float,
    precaution_rate: float,
    vote: VoteRule,
    notes: tuple[str, ...] = (),
    trained: Callable[[], None] = lambda: None,
    epochs: int = EPOCHS,
) -> Calibration:
    """Train the fusion block of ``profile``, fit the growth to it, and set the threshold from clean frames alone.

    Args:
        profile: layers, kernels and statistics are kept.
        training, held_out: what ``profile`` sees of the two parts, from `make_examples`.
        false_alarm_rate: share of clean frames that may be flagged, in 0..1, exclusive.
        precaution_rate: share of clean frames that may be masked, in 0..1; at most the other one: only what is flagged.
        vote: what is written into the profile.
        notes: of `describe`; they take the place of those of an earlier calibration.
        trained: called after each epoch of each training, `TRAINING_STEPS` times.
        epochs: of each training.
    """
    # The paper's variant grows no mask.
    tried = growths(profile.detector.growth) if profile.variant == OURS else (profile.detector.growth,)
    untrained = (profile.detector.fusion, *(HEAD_OPENINGS if profile.detector.head is not None else ()))
    blocks = choose_block(training, untrained, tried, precaution_rate, trained, epochs)
    scores = frame_scores(blocks[0].scalars, held_out.where(held_out.clean)).tolist()
    detector = replace(
        profile.detector,
        fusion=blocks[0].scalars,
        growth=blocks[0].growth,
        threshold=clean_threshold(scores, false_alarm_rate),
        precaution=precaution_threshold(scores, precaution_rate) if precaution_rate > false_alarm_rate else None,
    )
    calibrated = replace(
        profile,
        detector=detector,
        vote=vote,
        notes=(*(note for note in profile.notes if not note.startswith(NOTE)), *notes),
    )
    calibrated.check_finite()
    # What no defence can be made of is not to be saved.
    Analyzer(detector, calibrated.binding)
    return Calibration(calibrated, judge_profile(calibrated, held_out), blocks)


def judge_profile(profile: Profile, examples: Examples) -> Judgement:
    """The figures of ``profile`` on what it sees."""
    return judge(profile.detector.fusion, profile.detector.growth, profile.detector.threshold.value, examples)


def describe(material: Material) -> tuple[str, ...]:
    """Sentences for the profile's notes: what was used for what."""
    return tuple(
        f"{NOTE}, {title}: {len(part.frames)} frames; patches {', '.join(patch.name for patch in part.patches)}; "
        f"harmless pictures of seed {part.seed}."
        for title, part in (("training", material.training), ("held-out check", material.held_out))
    )

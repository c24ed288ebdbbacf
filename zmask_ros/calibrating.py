"""From a fitted profile, clean frames and patches to a calibrated one: examples, training, growth, threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zmask_ros.attacks import EotRanges, Recipe, paste_at_random
from zmask_ros.defense import Defense, Profile
from zmask_ros.defense.analysis import Analyser, Evidence
from zmask_ros.defense.block_choice import Block, choose_block, growths
from zmask_ros.defense.calibration import clean_threshold, opening_at, precaution_threshold
from zmask_ros.defense.examples import Examples
from zmask_ros.defense.fitting import CleanFit
from zmask_ros.defense.fusion_training import EPOCHS
from zmask_ros.defense.judgement import Judgement, frame_scores, judge
from zmask_ros.defense.profile import OURS
from zmask_ros.defense.vote import VoteRule
from zmask_ros.errors import ZmaskError
from zmask_ros.fitting import CleanFrame
from zmask_ros.segmenters import Segmenter
from zmask_ros.world.harmless import KINDS, harmless_pictures

PASTED = EotRanges(scale=(0.4, 1.0))
TRAINING_FRAMES = 400
HELD_OUT_PATCH_EVERY = 3
FEWEST_PATCHES = 2
FEWEST_HELD_OUT = 10
PICTURES_A_FRAME = 3
NOTE = "Calibration"
HEAD_OPENINGS = tuple(opening_at(heat / 2, heat) for heat in (math.log(2), math.log(2) / 3, math.log(2) / 10))
"""Blocks for a head, whose heat says how likely a patch is: they open at one half, at a fifth, and at 7 per cent."""
HARMLESS_PICTURES = 4 * len(KINDS)
TRAINING_SEED, HELD_OUT_SEED = 1, 2
# beta of the paper's graded patches, the strongest first, and their sides as shares of the network's input height.
GRADES = (1.0, 0.5)
PATCH_SIDES = ((0.45, 0.45), (0.36, 0.36), (0.27, 0.27), (0.27, 0.54))
SMALLEST_SIDE = 8


@dataclass(frozen=True)
class NamedPatch:
    """An adversarial patch, uint8 [h, w, 3] RGB, and what it is called in notes."""

    name: str
    picture: np.ndarray


def graded_recipes(count: int, steps: int, input_size: tuple[int, int]) -> tuple[Recipe, ...]:
    """Recipes of ``count`` patches, of strengths ``GRADES[0]`` to ``GRADES[1]`` and of several sizes."""
    strengths = torch.linspace(*GRADES, count).tolist()
    sides = [[max(SMALLEST_SIDE, round(share * input_size[0])) for share in shares] for shares in PATCH_SIDES]
    return tuple(
        Recipe(size=(height, width), steps=steps, beta=beta, seed=seed)
        for seed, (beta, (height, width)) in enumerate(zip(strengths, cycle(sides), strict=False))
    )


@dataclass(frozen=True)
class Part:
    """What one part of the calibration uses; nothing of it is in the other part.

    Attributes:
        frames: clean images, uint8 [h, w, 3] RGB, at the network's input size.
        patches: adversarial ones.
        seed: of the harmless pictures and of all places.
    """

    frames: tuple[np.ndarray, ...]
    patches: tuple[NamedPatch, ...]
    seed: int

    @property
    def pictures(self) -> int:
        """Number of images that are made of it."""
        return PICTURES_A_FRAME * len(self.frames)


@dataclass(frozen=True)
class Material:
    """Training and held-out part. The held-out frames also set the threshold: no patch has a say in it."""

    training: Part
    held_out: Part


def check_enough_patches(count: int) -> None:
    """Refuse patches that are too few to be divided.

    Raises:
        ZmaskError: they are.
    """
    if count < FEWEST_PATCHES:
        raise ZmaskError(
            f"{count} patches are too few: name {FEWEST_PATCHES} at least, since some are kept for the check."
        )


def check_enough_frames(frames: Sequence[CleanFrame]) -> None:
    """Refuse clean frames that are too few to be divided.

    Raises:
        ZmaskError: they are.
    """
    if sum(CleanFit.is_held_out(frame.index) for frame in frames) < FEWEST_HELD_OUT:
        raise ZmaskError(
            f"{len(frames)} clean frames are too few: every fifth of a drive is held out, and it takes "
            f"{FEWEST_HELD_OUT} of these."
        )


def divide(frames: Sequence[CleanFrame], patches: Sequence[NamedPatch]) -> Material:
    """Divide clean frames, at the network's input size, and patches into training and held-out parts.

    The held-out frames are those that `zmask fit` keeps out of the statistics when it is given the same drives; of the
    patches every third is held out.

    Raises:
        ZmaskError: too few of either.
    """
    check_enough_patches(len(patches))
    used, kept = divide_frames(frames)
    judged = [patch for index, patch in enumerate(patches) if index % HELD_OUT_PATCH_EVERY == 1]
    learned = [patch for index, patch in enumerate(patches) if index % HELD_OUT_PATCH_EVERY != 1]
    return Material(
        Part(used, tuple(learned), TRAINING_SEED),
        Part(kept, tuple(judged), HELD_OUT_SEED),
    )


def divide_frames(frames: Sequence[CleanFrame]) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """The images to train on, at most `TRAINING_FRAMES`, and those that are held out.

    Raises:
        ZmaskError: too few.
    """
    check_enough_frames(frames)
    kept = [frame.image for frame in frames if CleanFit.is_held_out(frame.index)]
    used = [frame.image for frame in frames if not CleanFit.is_held_out(frame.index)]
    spread = np.unique(np.linspace(0, len(used) - 1, min(len(used), TRAINING_FRAMES)).round().astype(int))
    return tuple(used[i] for i in spread), tuple(kept)


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
    tried = growths(profile.growth) if profile.variant == OURS else (profile.growth,)
    untrained = (profile.fusion, *(HEAD_OPENINGS if profile.head is not None else ()))
    blocks = choose_block(training, untrained, tried, precaution_rate, trained, epochs)
    scores = frame_scores(blocks[0].scalars, held_out.where(held_out.clean)).tolist()
    calibrated = replace(
        profile,
        fusion=blocks[0].scalars,
        growth=blocks[0].growth,
        threshold=clean_threshold(scores, false_alarm_rate),
        precaution=precaution_threshold(scores, precaution_rate) if precaution_rate > false_alarm_rate else None,
        vote=vote,
        notes=(*(note for note in profile.notes if not note.startswith(NOTE)), *notes),
    )
    calibrated.check_finite()
    # What no defence can be made of is not to be saved.
    Analyser(calibrated)
    return Calibration(calibrated, judge_profile(calibrated, held_out), blocks)


def judge_profile(profile: Profile, examples: Examples) -> Judgement:
    """The figures of ``profile`` on what it sees."""
    return judge(profile.fusion, profile.growth, profile.threshold.value, examples)


def make_examples(
    segmenter: Segmenter, profile: Profile, part: Part, seen: Callable[[], None] = lambda: None
) -> Examples:
    """The evidence of each frame of ``part`` clean, with an adversarial and with a harmless patch.

    Raises:
        ProfileError: the profile belongs to another network.
    """
    defense = Defense(segmenter, profile)
    evidences, truths, harmless = [], [], []
    for image, patch_mask, harmless_mask in pictures(part):
        evidences.append(_evidence(defense, segmenter, image))
        truths.append(coverage(patch_mask, profile.grid))
        harmless.append(coverage(harmless_mask, profile.grid))
        seen()
    scenes = [index // PICTURES_A_FRAME for index in range(len(evidences))]
    return Examples.stack(evidences, truths, harmless, scenes, profile.head is not None)


def pictures(part: Part) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Image, mask of an adversarial patch and mask of a harmless one, bool [h, w]; three for each frame.

    They are: the frame itself, with an adversarial patch, and with a harmless picture.
    """
    generator = torch.Generator().manual_seed(part.seed)
    size = (part.patches[0].picture.shape[0], part.patches[0].picture.shape[1])
    others = harmless_pictures(HARMLESS_PICTURES, size, part.frames, part.seed)

    def pasted(frame: np.ndarray, choices: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        drawn = int(torch.randint(len(choices), (1,), generator=generator))
        return paste_at_random(frame, choices[drawn], PASTED, generator)

    for frame in part.frames:
        nothing = np.zeros(frame.shape[:2], bool)
        attacked, where = pasted(frame, [patch.picture for patch in part.patches])
        disguised, there = pasted(frame, others)
        yield frame, nothing, nothing
        yield attacked, where, nothing
        yield disguised, nothing, there


@torch.inference_mode()
def _evidence(defense: Defense, segmenter: Segmenter, image: np.ndarray) -> Evidence:
    evidence = defense.analyse(segmenter.prepare(image))[1].evidence
    return Evidence(evidence.shallow.cpu(), evidence.deep.cpu())


def coverage(mask: np.ndarray, grid: tuple[int, int]) -> Tensor:
    """The share of each cell of ``grid`` that ``mask``, bool [h, w], covers: [1, 1, *grid], 0..1."""
    return F.adaptive_avg_pool2d(torch.from_numpy(mask).float()[None, None], grid)


def at_input_size(segmenter: Segmenter, image: np.ndarray) -> np.ndarray:
    """The image, uint8 [H, W, 3], at the size of the network's input."""
    height, width = segmenter.input_size
    if image.shape[:2] == (height, width):
        # Images from bags are read-only.
        return np.require(image, requirements=("C", "W"))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def describe(material: Material) -> tuple[str, ...]:
    """Sentences for the profile's notes: what was used for what."""
    return tuple(
        f"{NOTE}, {title}: {len(part.frames)} frames; patches {', '.join(patch.name for patch in part.patches)}; "
        f"harmless pictures of seed {part.seed}."
        for title, part in (("training", material.training), ("held-out check", material.held_out))
    )

"""From a fitted profile, clean frames and patches to a calibrated one: examples, training, growth, threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zmask_ros.attacks import EotRanges, paste_at_random
from zmask_ros.defense import Defense, Profile, Threshold
from zmask_ros.defense.analysis import Evidence
from zmask_ros.defense.calibration import clean_threshold
from zmask_ros.defense.examples import Examples
from zmask_ros.defense.fitting import CleanFit
from zmask_ros.defense.fusion_training import TrainedFusion, train_fusion
from zmask_ros.defense.judgement import Judgement, fitting_growth, frame_scores, judge
from zmask_ros.defense.profile import OURS
from zmask_ros.defense.vote import VoteRule
from zmask_ros.errors import ZmaskError
from zmask_ros.segmenters import Segmenter
from zmask_ros.world.harmless import KINDS, harmless_pictures

PASTED = EotRanges(scale=(0.4, 1.0))
TRAINING_FRAMES = 200
HELD_OUT_PATCH_EVERY = 3
FEWEST_PATCHES = 2
FEWEST_HELD_OUT = 10
HARMLESS_PICTURES = 4 * len(KINDS)
TRAINING_SEED, HELD_OUT_SEED = 1, 2


@dataclass(frozen=True)
class NamedPatch:
    """An adversarial patch, uint8 [h, w, 3] RGB, and what it is called in notes."""

    name: str
    picture: np.ndarray


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


@dataclass(frozen=True)
class Material:
    """Training and held-out part. The held-out frames also set the threshold: no patch has a say in it."""

    training: Part
    held_out: Part

    @property
    def passes(self) -> int:
        """Number of images that will go through the network."""
        return 3 * len(self.training.frames) + 3 * len(self.held_out.frames)


@dataclass(frozen=True)
class Calibration:
    """What came of it: the new profile, and figures on the held-out part before and after."""

    profile: Profile
    before: Judgement
    after: Judgement
    training: TrainedFusion


def divide(segmenter: Segmenter, frames: Sequence[np.ndarray], patches: Sequence[NamedPatch]) -> Material:
    """Divide clean frames and patches into training and held-out parts.

    The held-out frames are those that `zmask fit` keeps out of the statistics when it is given the same drive; of the
    patches every third is held out.

    Raises:
        ZmaskError: too few of either.
    """
    if len(patches) < FEWEST_PATCHES:
        raise ZmaskError(
            f"{len(patches)} patches are too few: name {FEWEST_PATCHES} at least, since some are kept for the check."
        )
    kept = [i for i in range(len(frames)) if CleanFit.is_held_out(i)]
    if len(kept) < FEWEST_HELD_OUT:
        raise ZmaskError(
            f"{len(frames)} clean frames are too few: every fifth is held out, and it takes {FEWEST_HELD_OUT} of these."
        )
    used = [i for i in range(len(frames)) if not CleanFit.is_held_out(i)]
    spread = np.unique(np.linspace(0, len(used) - 1, min(len(used), TRAINING_FRAMES)).round().astype(int))

    def part(indices: Sequence[int], chosen: Sequence[NamedPatch], seed: int) -> Part:
        return Part(tuple(_input(segmenter, frames[i]) for i in indices), tuple(chosen), seed)

    judged = [patch for index, patch in enumerate(patches) if index % HELD_OUT_PATCH_EVERY == 1]
    learned = [patch for index, patch in enumerate(patches) if index % HELD_OUT_PATCH_EVERY != 1]
    return Material(part([used[i] for i in spread], learned, TRAINING_SEED), part(kept, judged, HELD_OUT_SEED))


def calibrate(
    segmenter: Segmenter,
    profile: Profile,
    material: Material,
    false_alarm_rate: float,
    vote: VoteRule,
    seen: Callable[[], None] = lambda: None,
    trained: Callable[[], None] = lambda: None,
) -> Calibration:
    """Train the fusion block of ``profile``, fit the growth to it, and set the threshold from clean frames.

    Args:
        profile: layers, kernels and statistics are kept.
        material: from `divide`.
        false_alarm_rate: share of clean frames that may be flagged, in 0..1, exclusive.
        vote: what is written into the profile.
        seen: called after each image that went through the network.
        trained: called after each epoch, `EPOCHS` times `SEEDS`.

    Raises:
        ProfileError: the profile belongs to another network.
    """
    training = make_examples(segmenter, profile, material.training, seen)
    held_out = make_examples(segmenter, profile, material.held_out, seen)
    fusion = train_fusion(training, held_out, profile.fusion, progress=trained)
    # The paper's variant grows no mask.
    growth = fitting_growth(fusion.scalars, profile.growth, training) if profile.variant == OURS else profile.growth
    threshold = _threshold(fusion.scalars, held_out, false_alarm_rate)
    calibrated = replace(
        profile,
        fusion=fusion.scalars,
        growth=growth,
        threshold=threshold,
        vote=vote,
        notes=(*profile.notes, *_notes(material)),
    )
    calibrated.check_finite()
    before, after = (judge(p.fusion, p.growth, p.threshold.value, held_out) for p in (profile, calibrated))
    return Calibration(calibrated, before, after, fusion)


def make_examples(
    segmenter: Segmenter, profile: Profile, part: Part, seen: Callable[[], None] = lambda: None
) -> Examples:
    """The evidence of each frame of ``part`` clean, with an adversarial and with a harmless patch.

    Raises:
        ProfileError: the profile belongs to another network.
    """
    defense = Defense(segmenter, profile)
    evidences, truths, harmless = [], [], []
    for image, patch_mask, harmless_mask in _pictures(part):
        evidences.append(_evidence(defense, segmenter, image))
        truths.append(_coverage(patch_mask, profile.grid))
        harmless.append(_coverage(harmless_mask, profile.grid))
        seen()
    return Examples.stack(evidences, truths, harmless)


def _pictures(part: Part) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Image, mask of an adversarial patch and mask of a harmless one, bool [h, w]; three for each frame."""
    generator = torch.Generator().manual_seed(part.seed)
    patches = cycle(part.patches)
    size = (part.patches[0].picture.shape[0], part.patches[0].picture.shape[1])
    others = cycle(harmless_pictures(HARMLESS_PICTURES, size, part.frames, part.seed))
    for frame in part.frames:
        nothing = np.zeros(frame.shape[:2], bool)
        attacked, where = paste_at_random(frame, next(patches).picture, PASTED, generator)
        disguised, there = paste_at_random(frame, next(others), PASTED, generator)
        yield frame, nothing, nothing
        yield attacked, where, nothing
        yield disguised, nothing, there


@torch.inference_mode()
def _evidence(defense: Defense, segmenter: Segmenter, image: np.ndarray) -> Evidence:
    evidence = defense.analyse(segmenter.prepare(image))[1].evidence
    return Evidence(evidence.shallow.cpu(), evidence.deep.cpu())


def _coverage(mask: np.ndarray, grid: tuple[int, int]) -> Tensor:
    return F.adaptive_avg_pool2d(torch.from_numpy(mask).float()[None, None], grid)


def _input(segmenter: Segmenter, image: np.ndarray) -> np.ndarray:
    height, width = segmenter.input_size
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def _threshold(scalars: Tensor, held_out: Examples, false_alarm_rate: float) -> Threshold:
    scores = frame_scores(scalars, held_out.where(held_out.clean))
    return clean_threshold(scores.tolist(), false_alarm_rate)


def _notes(material: Material) -> tuple[str, ...]:
    return tuple(
        f"Calibration, {title}: {len(part.frames)} frames; patches {', '.join(patch.name for patch in part.patches)}; "
        f"harmless pictures of seed {part.seed}."
        for title, part in (("training", material.training), ("held-out check", material.held_out))
    )

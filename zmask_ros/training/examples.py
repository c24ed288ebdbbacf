"""What the calibration learns from: the evidence of frames with adversarial, with harmless and without patches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zmask_ros.attacks import EotRanges, paste_at_random
from zmask_ros.data.textures.benign import KINDS, harmless_pictures
from zmask_ros.defense import Defense, Profile
from zmask_ros.defense.analyzer import Evidence
from zmask_ros.errors import ZmaskError
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.clean_fit import CleanFit, CleanFrame

# Of a negative frame's cells, the share that is looked at as its hottest.
HOTTEST_SHARE = 0.01
COVERED = 0.5


@dataclass(frozen=True)
class Examples:
    """Evidence of N frames, with what is true of them, on the working grid.

    A frame holds an adversarial patch, or a harmless one, or none.

    Attributes:
        shallow, deep: H_S and H_D, [N, 1, h, w], at least 0.
        truth: share of each cell that an adversarial patch covers, [N, 1, h, w], 0..1.
        harmless: the same of a harmless patch.
        scene: int [N]: examples of the same number were made from the same clean frame.
        learned: whether the evidence is an evidence head's.
    """

    shallow: Tensor
    deep: Tensor
    truth: Tensor
    harmless: Tensor
    scene: Tensor
    learned: bool = False

    @staticmethod
    def stack(
        evidences: Sequence[Evidence],
        truths: Sequence[Tensor],
        harmless: Sequence[Tensor],
        scenes: Sequence[int],
        learned: bool = False,
    ) -> Examples:
        """Examples of evidences and coverages of one frame each, [1, 1, h, w]."""
        shallow, deep = torch.cat([e.shallow for e in evidences]), torch.cat([e.deep for e in evidences])
        coverages = torch.cat(list(truths)), torch.cat(list(harmless))
        return Examples(shallow.float(), deep.float(), *coverages, torch.tensor(scenes), learned)

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def attacked(self) -> Tensor:
        """Bool [N]: frames with an adversarial patch."""
        return self.truth.amax((-3, -2, -1)) > 0

    @property
    def disguised(self) -> Tensor:
        """Bool [N]: frames with a harmless patch."""
        return self.harmless.amax((-3, -2, -1)) > 0

    @property
    def clean(self) -> Tensor:
        """Bool [N]: frames without any patch."""
        return ~(self.attacked | self.disguised)

    @property
    def hottest(self) -> Tensor:
        """Bool [N, 1, h, w]: in frames without an adversarial patch, the cells with the most shallow heat."""
        cells = self.shallow.flatten(1)
        count = max(1, round(HOTTEST_SHARE * cells.shape[1]))
        least = cells.topk(count, dim=1).values[:, -1]
        return (self.shallow >= least[:, None, None, None]) & ~self.attacked[:, None, None, None]

    def where(self, frames: Tensor) -> Examples:
        """The examples of ``frames``, bool or indices [M]."""
        columns: dict[str, Any] = {column.name: getattr(self, column.name) for column in fields(self)}
        for name, values in columns.items():
            columns[name] = values[frames] if isinstance(values, Tensor) else values
        return Examples(**columns)


PASTED = EotRanges(scale=(0.4, 1.0))
TRAINING_FRAMES = 400
HELD_OUT_PATCH_EVERY = 3
FEWEST_PATCHES = 2
FEWEST_HELD_OUT = 10
PICTURES_A_FRAME = 3
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
    return Examples.stack(evidences, truths, harmless, scenes, profile.detector.head is not None)


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
    evidence = defense.analyze(segmenter.prepare(image))[1].evidence
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

"""Clean frames and patches, divided: what is trained on has no part in the check, nor in the thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from zmask_ros.errors import ZmaskError
from zmask_ros.training.sources import CleanFrame, NamedPatch

Item = TypeVar("Item")
MOST_TRAINING_FRAMES = 400
HELD_OUT_PATCH_EVERY = 3
FEWEST_PATCHES = 2
FEWEST_HELD_OUT = 10
IMAGES_A_FRAME = 3
"""That examples are made of: the frame itself, with an adversarial patch, and with a benign picture."""
TRAINING_SEED, HELD_OUT_SEED = 1, 2


@dataclass(frozen=True)
class Split:
    """One of the two parts; nothing of it is in the other one.

    Attributes:
        frames: clean images, uint8 [h, w, 3] RGB, at the network's input size.
        patches: adversarial ones.
        seed: of the benign pictures and of all places.
    """

    frames: tuple[np.ndarray, ...]
    patches: tuple[NamedPatch, ...]
    seed: int

    @property
    def images(self) -> int:
        """Number of images that are made of it."""
        return IMAGES_A_FRAME * len(self.frames)


@dataclass(frozen=True)
class Material:
    """Training and held-out part. The held-out frames also set the thresholds: no patch has a say in them."""

    training: Split
    held_out: Split

    def with_trained_on(self, patches: tuple[NamedPatch, ...]) -> Material:
        """The same with more patches in the training part."""
        return replace(self, training=replace(self.training, patches=self.training.patches + patches))


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
    if sum(frame.held_out for frame in frames) < FEWEST_HELD_OUT:
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
    used, kept = (tuple(frame.image for frame in part) for part in divide_frames(frames))
    held_out = tuple(patch for index, patch in enumerate(patches) if index % HELD_OUT_PATCH_EVERY == 1)
    training = tuple(patch for index, patch in enumerate(patches) if index % HELD_OUT_PATCH_EVERY != 1)
    return Material(Split(used, training, TRAINING_SEED), Split(kept, held_out, HELD_OUT_SEED))


def divide_frames(frames: Sequence[CleanFrame]) -> tuple[tuple[CleanFrame, ...], tuple[CleanFrame, ...]]:
    """The frames to train on, at most `MOST_TRAINING_FRAMES`, and those that are held out.

    Raises:
        ZmaskError: too few.
    """
    check_enough_frames(frames)
    kept = [frame for frame in frames if frame.held_out]
    used = [frame for frame in frames if not frame.held_out]
    return evenly(used, MOST_TRAINING_FRAMES), tuple(kept)


def evenly(items: Sequence[Item], most: int) -> tuple[Item, ...]:
    """So many of them at most, evenly chosen, in order."""
    chosen = np.unique(np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int))
    return tuple(items[index] for index in chosen)

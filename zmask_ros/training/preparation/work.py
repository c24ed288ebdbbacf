"""The pieces of a preparation that do not depend on each other: patches, and what each kind of patch does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from zmask_ros.attacks import Recipe, Step, train_patch
from zmask_ros.attacks.checkpoint import UnfitStateError
from zmask_ros.defense import Profile
from zmask_ros.progress import Advance, Progress
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.preparation.standing import PatchFigures

LEGS, LEG_SEED = 2, 1000
"""Of a patch that knows the defense, and what is added to its seed for each further one.

Against a prepared head two legs of 125 steps left three times the damage that one run of 250 did.
"""


@dataclass(frozen=True)
class AttackedFrame:
    """A held-out frame with a patch, and what is said of it whatever the profile.

    Attributes:
        attacked: uint8 [h, w, 3] RGB.
        truth: uint8 [h, w], what the network says of it without the patch, taken for right.
        undefended, oracle: uint8 [h, w], what the network says of it, and with the exact patch masked.
        patch_mask: bool [h, w].
    """

    attacked: np.ndarray
    truth: np.ndarray
    undefended: np.ndarray
    oracle: np.ndarray
    patch_mask: np.ndarray


Judge = Callable[[Profile, Sequence[AttackedFrame]], PatchFigures]
"""Says what one kind of patch does under a profile. It comes from outside: metrics of segmentation live above."""


@dataclass(frozen=True)
class PatchOrder:
    """A patch to be made, or several that act together.

    Attributes:
        kind: what it is called.
        recipe: how.
        frames: uint8 [h, w, 3] RGB each, that it is optimized over; the network's own labels are taken for right.
        profile: of the defense, where the recipe knows it.
        start: float [P, 3, h, w] in 0..1, that it begins with; None: noise.
        state: see `train_patch`.
    """

    kind: str
    recipe: Recipe = field(compare=False)
    frames: tuple[np.ndarray, ...] = field(compare=False)
    profile: Profile | None = field(compare=False)
    start: Tensor | None = field(compare=False)
    state: Path | None = field(compare=False)

    def make(self, segmenter: Segmenter, advance: Advance) -> Tensor:
        """The patches, float [P, 3, h, w] in 0..1; counts steps.

        Who knows the defense goes about it in legs: he begins anew, with fresh momentum, with the patches that he has.
        """
        legs = LEGS if self.recipe.knows_the_defense and self.recipe.steps >= LEGS else 1
        patches = self.start
        for leg in range(legs):
            steps = self.recipe.steps // legs + (leg < self.recipe.steps % legs)
            recipe = replace(self.recipe, steps=steps, seed=self.recipe.seed + leg * LEG_SEED)
            state = self.state
            if state is not None and leg:
                state = state.with_name(f"leg_{leg + 1}_{state.name}")
            patches = self._leg(segmenter, recipe, patches, state, advance)
        assert patches is not None
        return patches

    def _leg(
        self, segmenter: Segmenter, recipe: Recipe, start: Tensor | None, state: Path | None, advance: Advance
    ) -> Tensor:
        """Patches, float [P, 3, h, w] in 0..1, after the steps of one recipe."""

        def show(step: Step) -> None:
            advance(note=f"{step.pixel_accuracy:.1%} of pixels right")

        known = [(image, None) for image in self.frames]
        train = partial(train_patch, segmenter, known, recipe, show, self.profile, state=state, start=start)
        try:
            return train().patches
        except UnfitStateError:
            # With other threads, sums differ in their last digits, and what is attacked is another profile then.
            assert state is not None
            state.unlink()
            return train().patches


@dataclass(frozen=True)
class MadePatch:
    """What came of an order.

    Attributes:
        kind: what it is called.
        patches: float [P, 3, h, w] in 0..1.
        seconds: that it took.
    """

    kind: str
    patches: Tensor
    seconds: float


class Hands(Protocol):
    """Does these pieces; they come to the same whoever does them."""

    def make(self, orders: Sequence[PatchOrder]) -> Iterator[MadePatch]:
        """The patches, in whatever order."""

    def judge(self, profile: Profile, frames: Mapping[str, Sequence[AttackedFrame]]) -> dict[str, PatchFigures]:
        """What each kind of patch does under ``profile``, in the order of ``frames``."""


class OwnHands:
    """Does them in this process, one after the other.

    Args:
        segmenter: the network.
        judge: see `Judge`.
        clock: seconds from anywhere.
        progress: shows how far it is.
    """

    def __init__(self, segmenter: Segmenter, judge: Judge, clock: Callable[[], float], progress: Progress) -> None:
        self._segmenter, self._judge, self._clock, self._progress = segmenter, judge, clock, progress

    def make(self, orders: Sequence[PatchOrder]) -> Iterator[MadePatch]:
        """The patches, in order."""
        for order in orders:
            began = self._clock()
            with self._progress(f"Patch: {order.kind}", "steps", order.recipe.steps) as advance:
                patches = order.make(self._segmenter, advance)
            yield MadePatch(order.kind, patches, self._clock() - began)

    def judge(self, profile: Profile, frames: Mapping[str, Sequence[AttackedFrame]]) -> dict[str, PatchFigures]:
        """What each kind of patch does under ``profile``."""
        return {kind: self._judge(profile, own) for kind, own in frames.items()}

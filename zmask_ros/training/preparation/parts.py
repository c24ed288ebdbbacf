"""Clean frames of a preparation, divided: what is trained on, what profiles are compared on, what is reported on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from zmask_ros.errors import ZmaskError
from zmask_ros.training.cross_fitting import Group, GroupedFrame
from zmask_ros.training.division import FEWEST_HELD_OUT, divide_frames
from zmask_ros.training.sources import CleanFrame

LEAST_FOLD = 10
"""Frames of a drive, or a stretch, that can be held out for the report."""


@dataclass(frozen=True)
class Parts:
    """Clean frames, divided: what is trained on, what profiles are compared on, what is reported on.

    Attributes:
        training: with what each of them is left out with.
        compared: uint8 [h, w, 3] RGB each. Nothing of one part is in another.
        reported: with their groups.
        halves: the groups of the frames that are reported on, in two halves of time; one, where there is but one group.
        others: all frames but those reported.
        fold: what is reported on: a drive, or a stretch.
        held_out: the same in words.
    """

    training: tuple[GroupedFrame, ...]
    compared: tuple[np.ndarray, ...]
    reported: tuple[GroupedFrame, ...]
    halves: tuple[frozenset[Group], ...]
    others: tuple[CleanFrame, ...]
    fold: Hashable
    held_out: str


def divide_parts(
    frames: Sequence[CleanFrame], group_of: Callable[[CleanFrame], Group], fold_of: Callable[[Group], Hashable]
) -> Parts:
    """Divide clean frames; the last fold that has enough of them is reported on.

    Raises:
        ZmaskError: too few.
    """
    folds = [fold_of(group_of(frame)) for frame in frames]
    enough = [fold for fold, count in Counter(folds).items() if count >= LEAST_FOLD]
    if len(set(folds)) < 2 or not enough:
        raise ZmaskError(f"{len(frames)} clean frames are too few to hold some out: record a longer drive.")
    chosen = enough[-1]
    others = tuple(frame for frame, fold in zip(frames, folds, strict=True) if fold != chosen)
    reported = [frame for frame, fold in zip(frames, folds, strict=True) if fold == chosen]
    if sum(frame.held_out for frame in others) < FEWEST_HELD_OUT:
        raise ZmaskError(
            f"{len(frames)} clean frames are too few: {len(reported)} of them are held out for the report, and of the "
            f"others every fifth, of which it takes {FEWEST_HELD_OUT}: record longer drives."
        )
    training, compared = divide_frames(others)
    drive = f"{reported[0].bag} {reported[0].topic}"
    stretch = f", frames {reported[0].index} to {reported[-1].index}" if isinstance(chosen, Group) else ""
    return Parts(
        tuple(GroupedFrame(frame.image, group_of(frame)) for frame in training),
        tuple(frame.image for frame in compared),
        tuple(GroupedFrame(frame.image, group_of(frame)) for frame in reported),
        _halves(list(dict.fromkeys(map(group_of, reported)))),
        others,
        chosen,
        f"{drive}{stretch}",
    )


def _halves(groups: Sequence[Group]) -> tuple[frozenset[Group], ...]:
    middle = len(groups) // 2
    return tuple(frozenset(half) for half in (groups[:middle], groups[middle:]) if half)

"""Drives that are unlike all others, such as the only tunnel: leaving one out says nothing about the next drive.

By the statistics of the others nearly all its frames are alarms, and a threshold above these is above most patches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from zmask_ros.training.cross_fitting import CrossFitted

FEWEST_OTHERS = 3
"""Drives that a drive is compared with: where all are few, each may be unlike the others."""
FEWEST_FRAMES = 3
"""Held-out frames of a drive that is judged."""

Scorer = Callable[[Sequence[CrossFitted]], Sequence[float]]
"""The scores of frames, all that is not learned from the statistics learned from these frames."""


def unlike_drives(frames: Sequence[CrossFitted], score: Scorer) -> tuple[int, ...]:
    """The drives of which most frames score higher than every frame of all the other drives.

    Args:
        frames: measured by the statistics of all drives but their own.
        score: gives one score for each frame.

    Returns:
        Numbers of drives, as in `Group`, the least like the others first.
    """
    found: list[int] = []
    remaining, scores = list(frames), score(frames)
    while len(drives := {frame.group.drive for frame in remaining}) > FEWEST_OTHERS:
        scored = list(zip(remaining, scores, strict=True))
        by_drive = {drive: [own for frame, own in scored if frame.group.drive == drive] for drive in drives}
        highest = max(by_drive, key=lambda drive: median(by_drive[drive]))
        others = [frame for frame in remaining if frame.group.drive != highest]
        scores_of_others = score(others)
        if len(by_drive[highest]) < FEWEST_FRAMES or median(by_drive[highest]) <= max(scores_of_others):
            break
        found.append(highest)
        remaining, scores = others, scores_of_others
    return tuple(found)

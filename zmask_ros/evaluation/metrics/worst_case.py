"""Several attacks at once: the worst of all for each frame, and what damage can be had for how many alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zmask_ros.evaluation.metrics.records import RecordSet


@dataclass(frozen=True)
class WorstCase:
    """A defense on frames that each meet the attack which is worst for them; every figure is the worst by itself.

    Attributes:
        frames: Their number.
        damage: mIoU clean - defended, with every frame under the attack that gets most of its pixels wrong.
        flagged: Share of the frames that are flagged under each of the attacks, 0..1.
        masked: Share of the frames that are masked under each of the attacks, 0..1.
    """

    frames: int
    damage: float
    flagged: float
    masked: float


def worst_case(defended: Sequence[RecordSet], clean: Sequence[RecordSet]) -> WorstCase:
    """The worst case of A attacks on the same N frames.

    Args:
        defended: The frames under each attack, A record sets.
        clean: The same frames without a patch, as far as pixels are counted under each attack; A record sets.

    Raises:
        ValueError: There is no attack, or the attacks are on other frames.
    """
    names = [[record.name for record in records.records] for records in (*defended, *clean)]
    if not defended or any(own != names[0] for own in names):
        raise ValueError("the worst case is of at least one attack, all on the same frames")
    lost = np.array([c.accuracies() - d.accuracies() for d, c in zip(defended, clean, strict=True)])
    worst = np.where(np.isnan(lost), -np.inf, lost).argmax(0)

    def under_worst(sets: Sequence[RecordSet]) -> float:
        chosen = [sets[attack].records[frame] for frame, attack in enumerate(worst)]
        return RecordSet(chosen, sets[0].num_classes).miou()

    found = (np.array([own.flagged for own in defended]), np.array([own.masked for own in defended]))
    return WorstCase(len(worst), under_worst(clean) - under_worst(defended), *(float(f.all(0).mean()) for f in found))


def frontier(flagged: Sequence[float], damage: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The most damage that attacks do with at most so many frames flagged.

    Args:
        flagged: Share of the frames of each of A attacks that are flagged, 0..1.
        damage: What each of them does under the defense.

    Returns:
        Shares, ascending, and the damages, ascending too: only attacks that do more than all that are flagged less.
    """
    order = np.lexsort((-np.asarray(damage, float), np.asarray(flagged, float)))
    shares, damages = np.asarray(flagged, float)[order], np.asarray(damage, float)[order]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(damages)[:-1]]) if len(damages) else damages
    kept = damages > before
    return shares[kept], damages[kept]

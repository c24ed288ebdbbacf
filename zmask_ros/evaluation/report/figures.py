"""The figures of an evaluation; `result.to_json` makes JSON of them.

All are shares, 0..1, and NaN where not defined. Baselines are by name: our profiles first, then what they are compared
with. The words that all classes share:

- ``miou``: mean intersection over union of a segmentation, outside of the patches; ``miou_loss``: the undefended
  network's minus a baseline's.
- ``false_alarm_rate``, ``recall``, ``flagged``: share of clean, or of attacked, frames that a baseline flags.
- ``masked``: share of the frames of which a baseline masks something; ``mask_iou`` and ``mask_recall``: its masks
  against the patches, as means over frames.
- ``recovery``: mIoU that a baseline gives back to attacked frames, as a share of what the oracle gives back.
- ``damage``: mIoU clean - attacked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zmask_ros.evaluation.metrics.intervals import Interval
from zmask_ros.evaluation.metrics.worst_case import WorstCase

FULL_STRENGTH = "full strength"
COSTLY = "graded and full, costly"
"""Titles of the groups of attacks."""


@dataclass(frozen=True)
class CleanFigures:
    """What one baseline does to clean frames; alarms an hour are those of a camera with 15 frames a second."""

    frames: int
    threshold: float
    miou: float
    miou_loss: float
    false_alarm_rate: Interval
    false_alarms_an_hour: float
    masked: float


@dataclass(frozen=True)
class RocFigures:
    """How well scores separate attacked frames from the clean test frames.

    The area under the ROC curve, and the share of attacked frames found at false-alarm rates of 1 % and of 0.1 %.
    """

    auc: Interval
    tpr_at_1_percent: float
    tpr_at_1_permille: float


@dataclass(frozen=True)
class DefendedFigures:
    """What one baseline makes of one attack; ``pixel_accuracy`` is the share of its labels that are right."""

    miou: float
    miou_interval: Interval
    pixel_accuracy: float
    recovery: Interval
    recall: float
    recall_interval: Interval
    masked: float
    mask_iou: float
    mask_recall: float
    roc: RocFigures


@dataclass(frozen=True)
class AttackFigures:
    """One attack: what it is, as in `plan.Attack` and its recipe, what it does, and what each baseline makes of it.

    Attributes:
        patches: Number of patches.
        patch_share: Share of the image that they cover.
        clean, attacked, oracle: mIoU of the undefended network on clean and on attacked frames, and with the patches
            masked exactly.
        accuracy: Share of labels that are right, of these three.
        cost: The damage to the undefended network.
    """

    name: str
    group: str
    family: str | None
    reference: str | None
    size: tuple[int, int] | None
    patches: int
    objective: str | None
    beta: float | None
    steps: int | None
    seed: int | None
    patch_share: float
    clean: float
    attacked: Interval
    oracle: float
    accuracy: Mapping[str, float]
    cost: float
    baselines: Mapping[str, DefendedFigures]


@dataclass(frozen=True)
class PooledFigures:
    """One baseline over several attacks: ROC of all frames together, recovery of all mIoU, means of the rest."""

    roc: RocFigures
    mean_auc: float
    recall: float
    recovery: float
    mask_iou: float


@dataclass(frozen=True)
class GroupFigures:
    """Several attacks, by name, and each baseline over them."""

    attacks: tuple[str, ...]
    baselines: Mapping[str, PooledFigures]


@dataclass(frozen=True)
class FamilyRun:
    """One adaptive attack.

    Attributes:
        steps: All steps, those of the run that it goes on from counted.
        reference: The same attacker, had there been no defense.
        damage_free: The damage of ``reference`` to the undefended network.
        damage_undefended: The damage of this attack to the undefended network.
        damage_defended: The damage that remains under the defense.
        ratio: ``damage_defended / damage_free``.
        change: What doubling the steps changed, where the run goes on from another of its family: the damage that
            remains, relative, or the share of flagged frames, whichever changed more.
    """

    attack: str
    steps: int | None
    seed: int | None
    reference: str | None
    damage_free: float
    damage_undefended: float
    damage_defended: float
    ratio: float
    flagged: float
    masked: float
    change: float | None = None


@dataclass(frozen=True)
class FamilyFigures:
    """A family of adaptive attacks, all its runs, and the run with the most damage under the defense."""

    family: str
    runs: tuple[FamilyRun, ...]
    worst: FamilyRun


@dataclass(frozen=True)
class HardBaselineFigures:
    """One baseline on a benign-hard set."""

    false_alarm_rate: Interval
    masked: float
    miou: float
    miou_loss: float


@dataclass(frozen=True)
class HardFigures:
    """A benign-hard set: its number of frames, the undefended network's mIoU, and each baseline."""

    frames: int
    miou: float
    baselines: Mapping[str, HardBaselineFigures]


@dataclass(frozen=True)
class Summary:
    """All figures of an evaluation.

    Attributes:
        clean: Clean frames, by baseline.
        attacks: Each attack, in the order of the plan.
        groups: By `FULL_STRENGTH` and `COSTLY`; groups without attacks are left out.
        families: Adaptive families, by our profile.
        hard: By benign-hard set.
        worst_frames: Mean pixel accuracy if each frame meets the attack that is worst for it, of "none" and our
            profiles; empty without attacks.
        worst_case: The adaptive attacks together, by our profile; empty without any.
    """

    clean: Mapping[str, CleanFigures]
    attacks: tuple[AttackFigures, ...]
    groups: Mapping[str, GroupFigures]
    families: Mapping[str, tuple[FamilyFigures, ...]]
    hard: Mapping[str, HardFigures]
    worst_frames: Mapping[str, float]
    worst_case: Mapping[str, WorstCase]

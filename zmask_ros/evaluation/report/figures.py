"""The figures of an evaluation; all shares, rates, IoUs and accuracies are 0..1, and NaN where not defined.

Baselines are by name: our profiles first, then what they are compared with. mIoU of attacked frames is over the pixels
outside the patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zmask_ros.evaluation.metrics.intervals import Interval
from zmask_ros.evaluation.report.serialization import INLINED, keyed

FULL_STRENGTH = "full strength"
COSTLY = "graded and full, costly"
"""Titles of the groups of attacks."""


@dataclass(frozen=True)
class CleanFigures:
    """What one baseline does to clean frames.

    Attributes:
        frames: Number of frames.
        threshold: The score above which it flags a frame.
        miou: Of its segmentation.
        miou_loss: mIoU of the undefended network minus its own.
        false_alarm_rate: Share of the frames that it flags.
        false_alarms_an_hour: Of a camera with 15 frames a second.
        masked: Share of the frames of which it masks something.
    """

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

    Attributes:
        auc: Area under the ROC curve.
        tpr_at_1_percent, tpr_at_1_permille: Share of attacked frames found at that false-alarm rate.
    """

    auc: Interval
    tpr_at_1_percent: float
    tpr_at_1_permille: float


@dataclass(frozen=True)
class DefendedFigures:
    """What one baseline makes of one attack.

    Attributes:
        miou, miou_interval: mIoU of its segmentation.
        pixel_accuracy: Share of its labels that are right.
        recovery: mIoU that it gives back, as a share of what the oracle gives back.
        recall, recall_interval: Share of the frames that it flags.
        masked: Share of the frames of which it masks something.
        mask_iou, mask_recall: Its masks against the patches, means over frames.
        roc: Its scores.
    """

    miou: float
    miou_interval: Interval
    pixel_accuracy: float
    recovery: Interval
    recall: float
    recall_interval: Interval
    masked: float
    mask_iou: float
    mask_recall: float
    roc: RocFigures = field(metadata=INLINED)


@dataclass(frozen=True)
class AttackFigures:
    """One attack: what it is, what it does, and what each baseline makes of it.

    Attributes:
        name, group, family, reference: As in `plan.Attack`.
        size, objective, beta, steps, seed: As in its recipe; None where the patch comes from a file.
        patches: Number of patches.
        patch_share: Share of the image that the patches cover.
        clean, attacked, oracle: mIoU of the undefended network on clean and on attacked frames, and with the patches
            masked exactly.
        accuracy: Share of labels that are right, of these three.
        cost: mIoU clean - attacked.
        baselines: By name.
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
    baselines: Mapping[str, DefendedFigures] = field(metadata=keyed("defences"))


@dataclass(frozen=True)
class PooledFigures:
    """One baseline over several attacks.

    Attributes:
        roc: Scores of the frames of all attacks together.
        mean_auc, recall, mask_iou: Means over attacks.
        recovery: mIoU that it gives back over all attacks, as a share of what the oracle gives back.
    """

    roc: RocFigures = field(metadata=INLINED)
    mean_auc: float
    recall: float
    recovery: float
    mask_iou: float


@dataclass(frozen=True)
class GroupFigures:
    """Several attacks, by name, and each baseline over them."""

    attacks: tuple[str, ...]
    baselines: Mapping[str, PooledFigures] = field(metadata=keyed("defences"))


@dataclass(frozen=True)
class FamilyRun:
    """One adaptive attack; damage is mIoU clean - attacked.

    Attributes:
        attack: Its name.
        steps, seed: As in its recipe.
        reference: The same attacker, had there been no defense.
        damage_free: The damage that ``reference`` does to the undefended network.
        damage_undefended: The damage that this attack does to the undefended network.
        damage_defended: The damage that remains under the defense.
        ratio: ``damage_defended / damage_free``.
        flagged, masked: Share of the frames that are flagged, and of which something is masked.
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


@dataclass(frozen=True)
class FamilyFigures:
    """A family of adaptive attacks, all its runs, and the run with the most damage under the defense."""

    family: str
    runs: tuple[FamilyRun, ...]
    worst: FamilyRun


@dataclass(frozen=True)
class HardBaselineFigures:
    """One baseline on a benign-hard set; entries as in `CleanFigures`."""

    false_alarm_rate: Interval
    masked: float
    miou: float
    miou_loss: float


@dataclass(frozen=True)
class HardFigures:
    """A benign-hard set: its number of frames, the undefended network's mIoU, and each baseline."""

    frames: int
    miou: float
    baselines: Mapping[str, HardBaselineFigures] = field(metadata=keyed("defences"))


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
    """

    clean: Mapping[str, CleanFigures]
    attacks: tuple[AttackFigures, ...]
    groups: Mapping[str, GroupFigures]
    families: Mapping[str, tuple[FamilyFigures, ...]]
    hard: Mapping[str, HardFigures]
    worst_frames: Mapping[str, float]

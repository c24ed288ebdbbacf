"""One profile of two, for drives that were fitted apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch

from zmask_ros.defense.drift.reference import DriftReference
from zmask_ros.defense.profile.detector import Detector
from zmask_ros.defense.profile.profile import Binding, MergeKey, Profile, ProfileError

MERGED = (
    "Merged from several profiles: the statistics of the layers are exact, but the clean range of descriptors is that "
    "of each profile's own frames, each threshold is the higher of theirs and the fusion scalars are averages. Check "
    "the false alarms on a clean drive with zmask replay."
)
NO_PRECAUTION = (
    "Only one of the profiles that were merged masks frames that it does not flag; together they do not. Calibrate "
    "again to have that."
)


class Mergeable(Protocol):
    """A profile, or the plan of one that is to be fitted."""

    @property
    def binding(self) -> Binding:
        """What it belongs to."""

    @property
    def merge_key(self) -> MergeKey | None:
        """What must be equal in both; None: it cannot be merged with anything."""


def check_mergeable(first: Mergeable, second: Mergeable) -> None:
    """Refuse to merge what does not analyze the same layers with the same kernels on the same grid, and grow equally.

    A profile with a head is refused: statistics of other drives would be other inputs than the head was trained on.

    Raises:
        ProfileError: the two belong to different networks or analyze different layers.
    """
    first.binding.check(second.binding)
    if first.merge_key is None or first.merge_key != second.merge_key:
        raise ProfileError(
            "The profiles analyse different layers, kernels or grids, or grow masks differently, so they cannot be "
            "merged: merge them as zmask fit left them, and calibrate afterwards."
        )


def merge_profiles(first: Profile, second: Profile) -> Profile:
    """One profile for both sets of drives: the layers' statistics are exactly those of fitting all drives at once.

    The held-out frames are gone by now, so the fusion scalars are averaged by frame count, and the higher threshold is
    kept. The false-alarm rate is no longer measured then, and a note says so.

    Raises:
        ProfileError: the two belong to different networks or analyze different layers.
    """
    check_mergeable(first, second)
    one, other = first.detector, second.detector
    share = first.frames / max(first.frames + second.frames, 1)
    higher = replace(max(one.threshold, other.threshold, key=lambda t: t.value), interval=None)
    detector = replace(
        one,
        statistics={key: own.merge(other.statistics[key]) for key, own in one.statistics.items()},
        fusion=torch.lerp(other.fusion, one.fusion, share),
        patched=min((own.patched for own in (one, other) if own.patched is not None), default=None),
    ).with_thresholds(higher, max(one.masking, other.masking, key=lambda t: t.value))
    lost = detector.precaution is None and (one.precaution is None) != (other.precaution is None)
    return replace(
        first,
        detector=detector,
        screen=None,
        drift=_merge_drift(first, second, detector),
        sources=first.sources + second.sources,
        created=max(first.created, second.created),
        notes=(*first.notes, *second.notes, MERGED, *([NO_PRECAUTION] if lost else [])),
    )


def _merge_drift(first: Profile, second: Profile, merged: Detector) -> DriftReference | None:
    """The reference of both; None where one of them has none."""
    if first.drift is None or second.drift is None:
        return None
    return first.drift.merge(second.drift, merged.fitted_statistics)

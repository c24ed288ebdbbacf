"""One profile of several: for drives that were fitted apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch

from zmask_ros.defense.evidence.head import Head
from zmask_ros.defense.profile.profile import Binding, Profile, ProfileError

COMPARED = ("grid_fraction", "shallow", "deep", "growth", "variant")
MERGED = (
    "Merged from several profiles: the statistics are exact, but each threshold is the higher of theirs and the fusion "
    "scalars are averages. Check the false alarms on a clean drive with zmask replay."
)

NO_PRECAUTION = (
    "Only one of the profiles that were merged masks frames that it does not flag; together they do not. Calibrate "
    "again to have that."
)


class Fitted(Protocol):
    """What decides whether a profile can be merged with another: a profile, or the plan of one."""

    @property
    def binding(self) -> Binding: ...
    @property
    def head(self) -> Head | None: ...


def check_mergeable(first: Fitted, second: Fitted) -> None:
    """Refuse to merge what does not analyse the same layers with the same kernels on the same grid, and grow alike.

    No two heads are alike: statistics of other drives are other inputs than those that a head was trained on.

    Raises:
        ProfileError: the two belong to different networks or analyse different layers.
    """
    first.binding.check(second.binding)
    learned = first.head is not None or second.head is not None
    if learned or any(getattr(first, name) != getattr(second, name) for name in COMPARED):
        raise ProfileError(
            "The profiles analyse different layers, kernels or grids, or grow masks differently, so they cannot be "
            "merged: merge them as zmask fit left them, and calibrate afterwards."
        )


def merge_profiles(first: Profile, second: Profile) -> Profile:
    """One profile for both sets of drives: the statistics are exactly those of fitting all drives at once.

    The held-out frames are gone by now, so the fusion scalars are averaged by frame count and the higher
    threshold is kept: the false-alarm rate is no longer measured, and a note says so.

    Raises:
        ProfileError: the two belong to different networks or analyse different layers.
    """
    check_mergeable(first, second)
    share = first.frames / max(first.frames + second.frames, 1)
    precautions = [own.precaution for own in (first, second) if own.precaution is not None]
    highest = max(precautions, key=lambda t: t.value) if len(precautions) == 2 else None
    lost = (NO_PRECAUTION,) if len(precautions) == 1 else ()
    higher = replace(max(first.threshold, second.threshold, key=lambda t: t.value), interval=None)
    return Profile(
        binding=first.binding,
        grid_fraction=first.grid_fraction,
        shallow=first.shallow,
        deep=first.deep,
        growth=first.growth,
        statistics={key: own.merge(second.statistics[key]) for key, own in first.statistics.items()},
        fusion=torch.lerp(second.fusion, first.fusion, share),
        threshold=higher,
        sources=first.sources + second.sources,
        created=max(first.created, second.created),
        tool_version=first.tool_version,
        notes=(*first.notes, *second.notes, MERGED, *lost),
        variant=first.variant,
        vote=first.vote,
        precaution=highest,
    )

"""Figures of a replayed drive: what was flagged, and how far the camera was from the profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zmask_ros.flags.drift import Drift, DriftLevels
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.stamps import NANOSECONDS, duration_ns
from zmask_ros.runtime.patch_truth import FoundPatches
from zmask_ros.runtime.replay import Replayed

LEVELS = DriftLevels()
"""The defaults of the node."""


def replay_figures(replayed: Replayed) -> dict[str, Any]:
    """Figures of a drive, JSON-ready."""
    flags, stamps_ns, seconds = replayed.flags, replayed.stamps_ns, max(replayed.seconds, 1e-9)
    states = [flag.state for flag in flags]
    # The score of the screening is another head's: it says nothing about the thresholds.
    scores = [flag.score for flag, whole in zip(flags, replayed.analyzed, strict=True) if whole]
    return {
        "engine": replayed.engine,
        "frames": len(flags),
        "flagged": states.count(FrameState.ATTACK),
        "masked": sum(flag.mask_fraction > 0 for flag in flags),
        "alarms": replayed.alarms,
        "unknown": states.count(FrameState.UNKNOWN),
        **patch_figures(replayed.patches),
        "segmented_once": replayed.tracked,
        "analysed_as_a_whole": len(scores),
        "score_p50": percentile(scores, 50),
        "score_p99": percentile(scores, 99),
        **drift_figures(replayed.drifts),
        "frame_ms_p50": percentile([flag.latency_ms for flag in flags], 50),
        "frame_ms_p99": percentile([flag.latency_ms for flag in flags], 99),
        "frames_per_s": len(flags) / seconds,
        "times_real_time": duration_ns(stamps_ns) / NANOSECONDS / seconds,
    }


def patch_figures(found: FoundPatches | None) -> dict[str, Any]:
    """JSON-ready figures of a drive whose patches are known; none of another one."""
    if found is None:
        return {}
    return {
        "frames_with_a_patch": len(found.overlaps),
        "flagged_of_these": found.flagged,
        "mask_iou": found.mask_iou,
        "frames_without_a_patch": found.without,
        "false_alarms": found.false_alarms,
    }


def typical_drift(drifts: Sequence[Drift]) -> Drift:
    """The one with the median distance among those that are known; the last one where none is."""
    known = sorted((drift for drift in drifts if not math.isnan(drift.distance)), key=lambda drift: drift.distance)
    if known:
        return known[(len(known) - 1) // 2]
    return drifts[-1] if drifts else Drift(reason="there are no frames")


def drift_figures(drifts: Sequence[Drift]) -> dict[str, Any]:
    """JSON-ready figures of a drive, from the distance after each of its frames; None where it is unknown."""
    typical = typical_drift(drifts)
    level = typical.level(LEVELS)
    known = [drift.distance for drift in drifts if not math.isnan(drift.distance)]
    return {
        "profile_fit": level.name,
        "profile_distance_p50": typical.distance if known else None,
        "profile_distance_max": max(known, default=None),
        "furthest_layer": typical.furthest or None,
    }


def percentile(values: Sequence[float], share: float) -> float | None:
    """A percentile, ``share`` in 0..100; None of nothing."""
    return float(np.percentile(values, share)) if values else None

"""What commands print of a profile, as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable

from zmask_ros.defense import Profile
from zmask_ros.defense.drift.observation import STRETCH_FRAMES
from zmask_ros.defense.drift.reference import FEWEST_STRETCHES
from zmask_ros.defense.profile.detector import RateInterval, Screen, Threshold


def summary(profile: Profile) -> dict[str, object]:
    """What people want to know of a profile; JSON-ready."""
    detector, threshold = profile.detector, profile.detector.threshold
    return {
        "segmenter": profile.binding.segmenter,
        "variant": profile.variant,
        "digest": profile.binding.digest[:12],
        "input size": "x".join(str(v) for v in reversed(profile.binding.input_size)),
        "shallow layers": ", ".join(detector.shallow.layers),
        "deep layers": ", ".join(detector.deep.layers),
        "grid": "x".join(str(v) for v in reversed(profile.grid)),
        "clean frames": profile.frames,
        "held-out frames": sum(source.held_out for source in profile.sources),
        "threshold": round(threshold.value, 6),
        "false-alarm rate": threshold.false_alarm_rate,
        "its interval": interval_text(threshold.interval),
        "highest clean score": round(threshold.highest_clean_score, 6),
        **({} if detector.patched is None else {"frames with a patch score": round(detector.patched, 6)}),
        **precaution_rows(detector.precaution),
        **screening_rows(profile.screen),
        "vote": str(profile.vote),
        "drift measured by": "nothing" if profile.drift is None else f"{sum(profile.drift.drives)} stretches",
        "drives": ", ".join(f"{source.bag} {source.topic}" for source in profile.sources),
        "created": profile.created,
        "tool version": profile.tool_version,
    }


def remarks(profile: Profile, notes: Iterable[str]) -> list[str]:
    """What whoever has made the profile should know: some of its notes, and what it cannot do."""
    found = list(dict.fromkeys(notes))
    if profile.drift is None:
        found.append(
            "Nobody will be told when the profile does not fit the camera any more: that takes "
            f"{FEWEST_STRETCHES} stretches of {STRETCH_FRAMES} frames. Read longer drives, or more of their frames."
        )
    detector, patched = profile.detector, profile.detector.patched
    # A head of this very network has met patches that evade it, which say nothing about plain ones.
    if detector.head_transfers and patched is not None and patched <= detector.masking.value:
        found.append(
            f"A plain patch that was tried on this network scores {patched:.3g}, no more than clean frames may "
            f"({detector.masking.value:.3g}): patches would pass. Give the clean drives to zmask prepare, whose head "
            "learns on this network, or name other layers in its description."
        )
    return found


def precaution_rows(precaution: Threshold | None) -> dict[str, object]:
    """What is masked without being flagged."""
    if precaution is None:
        return {"masking threshold": "that of attacks"}
    return {"masking threshold": round(precaution.value, 6), "clean frames masked": precaution.false_alarm_rate}


def screening_rows(screen: Screen | None) -> dict[str, object]:
    """What is looked at first in streaming mode."""
    if screen is None:
        return {"screening": "none"}
    return {
        "screening": ", ".join(screen.head.branch.layers),
        "screening threshold": round(screen.threshold.value, 6),
        "clean frames analysed": screen.threshold.false_alarm_rate,
    }


def interval_text(interval: RateInterval | None) -> str:
    """The interval of the false-alarm rate in words."""
    if interval is None:
        return "unknown"
    counted = f"{interval.exceeded} of {interval.frames} held-out frames above thresholds that they had no part in"
    return f"{interval.low:.3g} to {interval.high:.3g} at {interval.confidence:.0%} confidence: {counted}"

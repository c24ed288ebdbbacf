"""Whether far more clean frames are masked as a precaution than the profile was set for: it does not fit the drive."""

from __future__ import annotations

WINDOW_S = 60.0
"""Seconds of which the share is taken: one benign picture, which is masked while it is passed, is not a drive."""
ENOUGH_FRAMES = 50
"""So many clean frames are needed to speak of a share."""
EXCESS = 4.0
"""Ratio of the share to the profile's above which it is too much."""
LEAST_SHARE = 0.04
"""Less is no excess, however low the rate that the profile was set for."""


def excess_advice(share: float, frames: int, rate: float | None) -> str:
    """What it means and what to do, in one clause; empty where no more is masked than the profile leads to expect.

    Args:
        share: of ``frames`` clean frames, those that were masked as a precaution, 0..1.
        frames: how many there were.
        rate: that the masking threshold in use was set for, 0..1; None: it was set for none.
    """
    if rate is None or frames < ENOUGH_FRAMES or share <= max(EXCESS * rate, LEAST_SHARE):
        return ""
    return (
        f"{share:.0%} of {frames} clean frames were masked as a precaution, and the profile is set for "
        f"{100 * rate:.2g}%: if what is masked is benign, fit drives that show it, or raise masking_threshold"
    )

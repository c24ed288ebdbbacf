"""Profiles that differ in one thing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zmask_ros.defense import Profile


def with_changed(profile: Profile, **changes: Any) -> Profile:
    """``profile`` whose detector has these other values; bound to what it was bound to."""
    return replace(profile, detector=replace(profile.detector, **changes))

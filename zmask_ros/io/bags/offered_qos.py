"""The quality of service that the publishers of a recorded topic offered, as rosbag2 has written it down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

# By number up to version 8 of metadata.yaml, by name from 9 on.
_RELIABLE = (1, "reliable")
_BEST_EFFORT = (2, "best_effort")
_LASTING = (1, "transient_local")


@dataclass(frozen=True)
class OfferedQos:
    """What decides who can receive a topic; the default is that of rosbag2.

    Attributes:
        reliable: reliable, or else best effort.
        lasting: transient local, or else volatile.
    """

    reliable: bool = True
    lasting: bool = False


def read_offered_qos(profiles: Any) -> OfferedQos | None:
    """What all publishers of a topic offered, or the default where they did not offer the same, as rosbag2 plays them.

    Args:
        profiles: the list of them, or its YAML.

    Returns:
        None where nothing is said, or nothing that can be understood.
    """
    try:
        listed = yaml.safe_load(profiles) if isinstance(profiles, str) else profiles
        offered = {_offered(profile) for profile in listed}
    # What is not what it should be raises exceptions of no common class.
    except Exception:
        return None
    if not offered:
        return None
    return offered.pop() if len(offered) == 1 else OfferedQos()


def _offered(profile: dict[str, Any]) -> OfferedQos:
    reliability = profile["reliability"]
    if reliability not in (*_RELIABLE, *_BEST_EFFORT):
        return OfferedQos(lasting=profile["durability"] in _LASTING)
    return OfferedQos(reliability in _RELIABLE, profile["durability"] in _LASTING)

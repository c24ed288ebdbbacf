"""The parameters of `player`, which `zmask play` runs."""

from __future__ import annotations

from dataclasses import dataclass

from zmask_ros.node.parameters.spec import parameter


@dataclass(frozen=True)
class PlayerParameters:
    """What a user can set of `player`; each field carries its description."""

    path: str = parameter("", "The bag: a directory, or one of its files.")
    rate: float = parameter(1.0, "How many times as fast as it was recorded.", minimum=0.001, maximum=1000.0)
    loop: bool = parameter(False, "Play it again and again; time jumps back.")
    clock_hz: float = parameter(
        0.0,
        "Publish the time of the recording on /clock, so many times a second; 0: not at all. A /clock in the bag is "
        "not played then.",
        minimum=0.0,
        maximum=1000.0,
    )
    delay_s: float = parameter(
        0.0, "Seconds before the first message of each loop, for subscribers to appear.", minimum=0.0, maximum=3600.0
    )
    wait_s: float = parameter(
        0.0, "Seconds to wait at most, before all else, until somebody subscribes.", minimum=0.0, maximum=3600.0
    )
    topics: list[str] = parameter([""], "Full names of the topics to play; an empty name: all.")
    exclude_regex: str = parameter(
        "", "Topics whose whole name fits this regular expression are not played; empty: none is left out."
    )

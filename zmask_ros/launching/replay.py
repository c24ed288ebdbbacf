"""How replay.launch.py plays a bag: by ros2 bag, or by our own player."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zmask_ros.errors import ZmaskError
from zmask_ros.launching.arguments import check_file
from zmask_ros.launching.defense import Values

CLOCK_HZ = 100.0
# The range of our own player's rate.
SLOWEST, FASTEST = 0.001, 1000.0
# For the subscribers of the first frames.
DELAY_S = 0.5
# Our own player also waits until the node has found it, on however busy a machine.
WAIT_S = 30.0
# What a defense has published while the bag was recorded: this one publishes the same.
DEFENSE_TOPICS = ".*/zmask/.*"


def check_bag(value: Values) -> None:
    """See whether there is something to play.

    Raises:
        ZmaskError: no such bag, or a rate that is none.
    """
    check_file("bag", value["bag"])
    try:
        possible = SLOWEST <= float(value["rate"]) <= FASTEST
    except ValueError:
        possible = False
    if not possible:
        raise ZmaskError(f"The argument rate is a number from {SLOWEST:g} to {FASTEST:g}, not '{value['rate']}'.")


def ros2_bag_words(value: Values) -> list[str]:
    """The words of ros2 bag play."""
    words = ["ros2", "bag", "play", str(Path(value["bag"]).expanduser()), "--clock", f"{CLOCK_HZ:g}"]
    words += ["--rate", value["rate"], "--delay", f"{DELAY_S:g}", "--exclude-regex", DEFENSE_TOPICS]
    return [*words, "--disable-keyboard-controls", *(["--loop"] if value["loop"] == "true" else [])]


def player_parameters(value: Values) -> dict[str, Any]:
    """The same as parameters of `player`."""
    return {
        "path": value["bag"],
        "rate": float(value["rate"]),
        "loop": value["loop"] == "true",
        "clock_hz": CLOCK_HZ,
        "delay_s": DELAY_S,
        "wait_s": WAIT_S,
        "exclude_regex": DEFENSE_TOPICS,
    }

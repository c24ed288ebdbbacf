"""How replay.launch.py plays a bag: by ros2 bag, or by our own player."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zmask_ros.errors import ZmaskError
from zmask_ros.io.bags.storage_files import COMPRESSED, METADATA, named_ending, storage_ending
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

    Launch's own Python may have nothing that reads bags: names and first bytes have to do.

    Raises:
        ZmaskError: no such bag, none of ROS 2, or a rate that is none.
    """
    check_file("bag", value["bag"])
    try:
        possible = SLOWEST <= float(value["rate"]) <= FASTEST
    except ValueError:
        possible = False
    if not possible:
        raise ZmaskError(f"The argument rate is a number from {SLOWEST:g} to {FASTEST:g}, not '{value['rate']}'.")
    check_is_bag(Path(value["bag"]).expanduser())


def check_is_bag(path: Path) -> None:
    """See whether a path that is there looks like a bag of ROS 2.

    Raises:
        ZmaskError: it does not.
    """
    try:
        endings = {named_ending(file.name) for file in path.iterdir()} if path.is_dir() else {storage_ending(path)}
    except OSError as error:
        raise ZmaskError(f"{path} may not be read: {error.strerror}.") from error
    endings.discard("")
    # What is packed, or in a list, may have any name.
    is_bag = endings or path.suffix.lower() in COMPRESSED or (path / METADATA).exists()
    if not is_bag:
        raise ZmaskError(f"{path} is not a bag: expected a rosbag2 directory, an .mcap or a .db3 file.")
    if endings == {"bag"}:
        raise ZmaskError(f"{path} is a bag of ROS 1, which cannot be played: convert it, or use zmask replay.")


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

"""The parameters that demo.launch.py gives to the camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zmask_ros.errors import ZmaskError
from zmask_ros.launching.arguments import check_file
from zmask_ros.launching.defense import Values


def street_parameters(value: Values) -> dict[str, Any]:
    """The parameters of the camera: the arguments that are set, and how many subscribers it has to wait for."""
    parameters: dict[str, Any] = {name: value[name] for name in ("picture", "pace") if value[name]}
    if value["seed"]:
        parameters["seed"] = _natural_number("seed", value["seed"])
    # The defense, and whatever else is to receive the drive from its first frame on.
    subscribers = 1 + bool(value["bag"]) + (value["rviz"] == "true")
    return {"loop": value["loop"] == "true", "min_subscribers": subscribers, **parameters}


def _natural_number(name: str, value: str) -> int:
    if not value.isdecimal():
        raise ZmaskError(f"The argument {name} is an integer of at least 0, not '{value}'.")
    return int(value)


def check_files(value: Values) -> None:
    """See whether the picture can be shown and the bag be written.

    Raises:
        ZmaskError: no such picture, or a bag that is there already.
    """
    check_file("picture", value["picture"])
    if value["bag"] and Path(value["bag"]).expanduser().exists():
        raise ZmaskError(f"The bag {value['bag']} is there already: remove it, or name another.")


def refuse_several_cameras(cameras: list[str]) -> None:
    """The street has one camera, and would wait for ever for the defense of others.

    Raises:
        ZmaskError: the file of parameters names cameras.
    """
    if cameras:
        raise ZmaskError(
            f"The demo has one camera, but params_file names {', '.join(cameras)}: leave out cameras there."
        )

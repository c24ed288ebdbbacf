"""The parameters that demo.launch.py gives to the camera."""

from __future__ import annotations

from typing import Any

from zmask_ros.errors import ZmaskError
from zmask_ros.launching.defense import Values


def street_parameters(value: Values) -> dict[str, Any]:
    """The parameters of the camera: the arguments that are set, and how many subscribers it has to wait for."""
    parameters: dict[str, Any] = {name: value[name] for name in ("picture", "pace") if value[name]}
    if value["seed"]:
        parameters["seed"] = _integer("seed", value["seed"])
    # The defense, and whatever else is to receive the drive from its first frame on.
    subscribers = 1 + bool(value["bag"]) + (value["rviz"] == "true")
    return {"loop": value["loop"] == "true", "min_subscribers": subscribers, **parameters}


def _integer(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise ZmaskError(f"The argument {name} is an integer, not '{value}'.") from error


def refuse_several_cameras(cameras: list[str]) -> None:
    """The street has one camera, and would wait for ever for the defense of others.

    Raises:
        ZmaskError: the file of parameters names cameras.
    """
    if cameras:
        raise ZmaskError(
            f"The demo has one camera, but params_file names {', '.join(cameras)}: leave out cameras there."
        )

"""The parameters that demo.launch.py gives to the camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zmask_ros.errors import ZmaskError
from zmask_ros.launching.defense import NODE, Values, camera_names, full_namespace
from zmask_ros.launching.parameter_file import read_parameters


def street_parameters(value: Values) -> dict[str, Any]:
    """The parameters of the camera: the arguments that are set, and how many subscribers it has to wait for."""
    parameters: dict[str, Any] = {name: value[name] for name in ("picture", "pace") if value[name]}
    if value["seed"]:
        parameters["seed"] = int(value["seed"])
    # The defense, and whatever else is to receive the drive from its first frame on.
    subscribers = 1 + bool(value["bag"]) + (value["rviz"] == "true")
    return {"loop": value["loop"] == "true", "min_subscribers": subscribers, **parameters}


def refuse_several_cameras(value: Values, file: Path) -> None:
    """The street has one camera, and would wait for ever for the defense of others.

    Raises:
        ZmaskError: the file of parameters names cameras, or cannot be read.
    """
    if named := camera_names(read_parameters(file, f"{full_namespace(value)}/{NODE}").get("cameras")):
        raise ZmaskError(f"The demo has one camera, but params_file names {', '.join(named)}: leave out cameras there.")

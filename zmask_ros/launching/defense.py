"""The parameters that defense.launch.py gives to the node: its arguments, over a file of parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zmask_ros.errors import ZmaskError
from zmask_ros.launching.arguments import check_file
from zmask_ros.launching.parameter_file import read_parameters

Values = dict[str, str]
NODE = "defense_node"
# A namespace that an including launch file has pushed, by launch_ros's name for it.
PUSHED_NAMESPACE = "ros_namespace"
# Arguments that are parameters of the node as well.
TEXT_ARGUMENTS = ("segmenter", "profile", "device", "image_transport")
BOOLEAN_ARGUMENTS = ("use_sim_time", "autostart")
# Arguments that each of several cameras has a parameter for; {camera} in them is its name.
PER_CAMERA = ("image_topic", "image_transport", "profile")
PLACEHOLDER = "{camera}"


class DefenseLaunch:
    """How the node is started: the arguments that are set, over what is in the file.

    Args:
        value: of the arguments; empty where one is not set.
        file: of parameters; None where the node's own defaults count.

    Attributes:
        namespace: of the node, full, without a slash at its end.
        cameras: the names of several cameras; empty for a single one.

    Raises:
        ZmaskError: the file cannot be read, or the arguments do not fit together or to the file.
    """

    def __init__(self, value: Values, file: Path | None) -> None:
        self._value = value
        self.namespace = full_namespace(value)
        self._written = read_parameters(file, f"{self.namespace}/{NODE}") if file is not None else {}
        self.cameras = camera_names(value["cameras"].split(",") if value["cameras"] else self._written.get("cameras"))
        self._check_placeholders()

    @property
    def logger(self) -> str:
        """Name of the node's own logger."""
        return f"{self.namespace}/{NODE}".strip("/").replace("/", ".")

    @property
    def use_sim_time(self) -> bool | None:
        """Whether time comes from /clock; None where neither an argument nor the file says so."""
        argument = self._value["use_sim_time"]
        written = self._written.get("use_sim_time")
        return argument == "true" if argument else written if isinstance(written, bool) else None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that are set by arguments, and no others."""
        parameters: dict[str, Any] = {name: self._value[name] for name in TEXT_ARGUMENTS if self._value[name]}
        parameters |= {name: self._value[name] == "true" for name in BOOLEAN_ARGUMENTS if self._value[name]}
        if not self.cameras:
            return parameters
        if self._value["cameras"]:
            parameters["cameras"] = self.cameras
        for name in PER_CAMERA:
            parameters.pop(name, None)
            if self._value[name]:
                parameters |= {f"{camera}.{name}": self._of(camera, name) for camera in self.cameras}
        return parameters

    def image_topic(self, camera: str) -> str:
        """Full name of where the images of a camera come from, empty for the only one; empty if from image_raw."""
        topic = self._of(camera, "image_topic") or str(self._written.get(f"{camera}.image_topic") or "")
        return f"{self.namespace}/{topic}" if topic and not topic.startswith("/") else topic

    def check_files(self) -> None:
        """See whether the profiles are there that the argument names.

        Raises:
            ZmaskError: one is not.
        """
        for camera in self.cameras or [""]:
            check_file("profile", self._of(camera, "profile"))

    def _of(self, camera: str, name: str) -> str:
        return self._value[name].replace(PLACEHOLDER, camera)

    def _check_placeholders(self) -> None:
        topic, cameras = self._value["image_topic"], ", ".join(self.cameras)
        if len(self.cameras) > 1 and topic and PLACEHOLDER not in topic:
            raise ZmaskError(
                f"image_topic has to have {PLACEHOLDER} in it, since there are several cameras: {cameras}."
            )
        for name in PER_CAMERA:
            if PLACEHOLDER in self._value[name] and not self.cameras:
                raise ZmaskError(
                    f"{name} has {PLACEHOLDER} in it, but neither the argument cameras nor params_file "
                    "names any camera."
                )


def full_namespace(value: Values) -> str:
    """Of the node that is started, without a slash at its end."""
    name, pushed = value["namespace"], value.get(PUSHED_NAMESPACE, "")
    parts = name if name.startswith("/") else f"{pushed}/{name}"
    return "".join(f"/{part}" for part in parts.split("/") if part)


def camera_names(cameras: Any) -> list[str]:
    """The names in a parameter ``cameras``; none for a single camera. The node refuses what is no list of names."""
    if not isinstance(cameras, list):
        return []
    return [name.strip() for name in cameras if isinstance(name, str) and name.strip()]

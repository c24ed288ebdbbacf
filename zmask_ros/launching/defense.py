"""What the arguments of defense.launch.py, and the file of parameters below them, come to. Needs no launch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zmask_ros.errors import ZmaskError
from zmask_ros.launching.parameter_file import read_parameters

Values = dict[str, str]
NODE = "defense_node"
# A namespace that an including launch file has pushed, by launch_ros's name for it.
PUSHED = "ros_namespace"
# Arguments that are parameters of the node as well.
TEXTS = ("segmenter", "profile", "device", "image_transport")
SWITCHES = ("use_sim_time", "autostart")
# Arguments that each of several cameras has a parameter for; {camera} in them is its name.
OF_EACH = ("image_topic", "image_transport", "profile")
PLACE = "{camera}"


class Defense:
    """What the node will be like: the arguments that were given, over what is in the file.

    Args:
        value: of the arguments; empty where one was not given.
        file: of parameters.

    Raises:
        ZmaskError: the file cannot be read, or the arguments do not fit together or to the file.
    """

    def __init__(self, value: Values, file: Path) -> None:
        self._value = value
        self._written = read_parameters(file, f"{self.namespace}/{NODE}")
        self.cameras = _names(value["cameras"].split(",") if value["cameras"] else self._written.get("cameras"))
        self._refuse_what_has_no_camera()

    @property
    def namespace(self) -> str:
        """Full, without a slash at its end."""
        return full_namespace(self._value)

    @property
    def logger(self) -> str:
        """Name of the node's own logger."""
        return f"{self.namespace}/{NODE}".strip("/").replace("/", ".")

    @property
    def use_sim_time(self) -> bool:
        """Whether time comes from /clock."""
        given = self._value["use_sim_time"]
        return given == "true" if given else self._written.get("use_sim_time") is True

    @property
    def parameters(self) -> dict[str, Any]:
        """Those that were given as arguments, and none besides."""
        given: dict[str, Any] = {name: self._value[name] for name in TEXTS if self._value[name]}
        given |= {name: self._value[name] == "true" for name in SWITCHES if self._value[name]}
        if not self.cameras:
            return given
        if self._value["cameras"]:
            given["cameras"] = self.cameras
        for name in OF_EACH:
            given.pop(name, None)
            if self._value[name]:
                given |= {f"{camera}.{name}": self._of(camera, name) for camera in self.cameras}
        return given

    def image_topic(self, camera: str) -> str:
        """Full name of where the images of a camera come from, empty for the only one; empty if from image_raw."""
        topic = self._of(camera, "image_topic") or str(self._written.get(f"{camera}.image_topic") or "")
        return f"{self.namespace}/{topic}" if topic and not topic.startswith("/") else topic

    def _of(self, camera: str, name: str) -> str:
        return self._value[name].replace(PLACE, camera)

    def _refuse_what_has_no_camera(self) -> None:
        topic = self._value["image_topic"]
        if len(self.cameras) > 1 and topic and PLACE not in topic:
            raise ZmaskError(
                f"image_topic has to have {PLACE} in it, since there are several cameras: {', '.join(self.cameras)}."
            )
        for name in OF_EACH:
            if PLACE in self._value[name] and not self.cameras:
                raise ZmaskError(
                    f"{name} has {PLACE} in it, but neither the argument cameras nor params_file names any camera."
                )


def full_namespace(value: Values) -> str:
    """Of the node that is started, without a slash at its end."""
    name, pushed = value["namespace"], value.get(PUSHED, "")
    parts = name if name.startswith("/") else f"{pushed}/{name}"
    return "".join(f"/{part}" for part in parts.split("/") if part)


def named_cameras(file: Path, namespace: str) -> list[str]:
    """The cameras that a file of parameters names for the node in this namespace.

    Raises:
        ZmaskError: the file cannot be read.
    """
    return _names(read_parameters(file, f"{namespace}/{NODE}").get("cameras"))


def _names(cameras: Any) -> list[str]:
    """Of several cameras; none for the only one. What is no list of names the node refuses."""
    if not isinstance(cameras, list):
        return []
    return [name.strip() for name in cameras if isinstance(name, str) and name.strip()]

"""The arguments of the launch files, as tables: declared, checked and documented from them. Needs no launch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zmask_ros.errors import ZmaskError
from zmask_ros.flags.topics import TRANSPORTS

BOOLEAN = ("true", "false")
OPTIONAL_BOOLEAN = ("", *BOOLEAN)
# What launch takes for itself, from the arguments of any launch file.
OF_LAUNCH = frozenset({"launch-prefix", "launch-prefix-filter", "emulate_tty"})


@dataclass(frozen=True)
class Argument:
    """One argument of a launch file; it may be anything where ``choices`` is empty, and None as default requires it."""

    name: str
    description: str
    default: str | None = ""
    choices: tuple[str, ...] = ()

    @property
    def help(self) -> str:
        """Its description, with its choices."""
        return f"{self.description} One of {_listed(self.choices)}." if self.choices else self.description

    def checked(self, value: str) -> str:
        """The value as the table spells it: True is true and INFO is info, as everywhere else in ROS.

        Raises:
            ZmaskError: it is none of the choices.
        """
        if not self.choices:
            return value
        if value.lower() not in self.choices:
            raise ZmaskError(f"The argument {self.name} is one of {_listed(self.choices)}, not '{value}'.")
        return value.lower()


NAMESPACE = Argument("namespace", "Namespace of the node and of its cameras, such as front.")
CAMERAS = Argument(
    "cameras",
    "Names of several cameras, such as front,rear: one node, and topics in a namespace of each name. Empty: as in "
    "params_file.",
)
PARAMS_FILE = Argument("params_file", "YAML file of parameters. Empty: the installed config/defense.yaml.")
RVIZ = Argument("rviz", "Look at it in RViz, in a window for each camera.", "false", BOOLEAN)
USE_SIM_TIME = Argument("use_sim_time", "Take time from /clock. Empty: as in params_file.", choices=OPTIONAL_BOOLEAN)
DEFENSE = (
    NAMESPACE,
    CAMERAS,
    PARAMS_FILE,
    Argument(
        "image_topic",
        "Topic of the camera's images without /compressed and the like; its camera_info lies beside it. With several "
        "cameras, {camera} stands for the name of each. Empty: image_raw in the camera's namespace.",
    ),
    Argument(
        "image_transport",
        "raw or compressed images, or video: ffmpeg or foxglove. Empty: as in params_file.",
        choices=("", "raw", *TRANSPORTS),
    ),
    Argument("segmenter", "Segmenter's name or YAML file. Empty: as in params_file."),
    Argument(
        "profile",
        "Profile that zmask fit made. With several cameras, {camera} stands for the name of each. Empty: as in "
        "params_file.",
    ),
    Argument("device", "auto, cpu, cuda or cuda:N. Empty: as in params_file."),
    USE_SIM_TIME,
    Argument(
        "autostart",
        "false leaves configuring and activating the node to a lifecycle manager. Empty: as in params_file.",
        choices=OPTIONAL_BOOLEAN,
    ),
    RVIZ,
    Argument("log_level", "What the node logs at least.", "info", ("debug", "info", "warn", "error", "fatal")),
)

# The bag brings its time along.
REPLAY = (
    Argument("bag", "The bag to play: a directory, or one of its files.", None),
    Argument("rate", "How many times as fast as it was recorded.", "1.0"),
    Argument("loop", "Play it again and again.", "false", BOOLEAN),
    *(argument for argument in DEFENSE if argument is not USE_SIM_TIME),
)

DEMO = (
    replace(NAMESPACE, default="front"),
    PARAMS_FILE,
    Argument("seed", "Which street. Empty: street_camera's default."),
    Argument("picture", "Path of a patch on the billboard. Empty: an advertisement."),
    Argument(
        "pace",
        "lockstep waits for the flag of each frame. Empty: street_camera's default.",
        choices=("", "realtime", "lockstep"),
    ),
    Argument("loop", "Drive again and again.", "false", BOOLEAN),
    Argument("bag", "Record into this bag. Empty: record nothing."),
    replace(RVIZ, default="true"),
)


def refuse_unknown(given: Iterable[str], table: Sequence[Argument]) -> None:
    """Refuse what a launch file was given and has no argument for: launch itself would pass over it.

    Raises:
        ZmaskError: there is no such argument.
    """
    names = [argument.name for argument in table]
    for name in sorted({*given} - {*names} - OF_LAUNCH):
        close = difflib.get_close_matches(name, names, n=1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}."
        raise ZmaskError(f"There is no argument {name}: {meant}")


def check_file(what: str, path: str) -> None:
    """See whether a file or folder is there that an argument names; none is named where it is empty.

    Raises:
        ZmaskError: it is not there.
    """
    if path and not Path(path).expanduser().exists():
        raise ZmaskError(f"There is no {what} {path}.")


def _listed(choices: Sequence[str]) -> str:
    return ", ".join(choice for choice in choices if choice)

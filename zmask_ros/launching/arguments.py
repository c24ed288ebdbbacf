"""The arguments of the launch files, as tables: declared from them, documented from them. Needs no launch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zmask_ros.flags.topics import TRANSPORTS

BOOLEAN = ("true", "false")
OPTIONAL_BOOLEAN = ("", *BOOLEAN)


@dataclass(frozen=True)
class Argument:
    """One argument of a launch file; it may be anything where ``choices`` is empty, and None as default requires it."""

    name: str
    description: str
    default: str | None = ""
    choices: tuple[str, ...] = ()


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
    Argument("bag", "The bag to play, as for ros2 bag play.", None),
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

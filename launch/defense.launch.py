"""The defence of one camera.

The defaults of all parameters are in config/defense.yaml; an argument that is not given changes nothing there.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath

from ament_index_python.packages import get_package_share_path
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription

SHARE = get_package_share_path("zmask_ros")
# Arguments that are parameters of the node as well.
OVERRIDES = ("segmenter", "profile", "device", "image_transport")


def arguments() -> list[DeclareLaunchArgument]:
    """What can be said on the command line."""
    return [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the camera, such as front."),
        DeclareLaunchArgument(
            "params_file", default_value=str(SHARE / "config" / "defense.yaml"), description="YAML file of parameters."
        ),
        DeclareLaunchArgument(
            "image_topic",
            default_value="",
            description="Topic of the camera's images without /compressed; its camera_info lies beside it. "
            "Empty: image_raw in the namespace.",
        ),
        DeclareLaunchArgument(
            "image_transport",
            default_value="",
            choices=["", "raw", "compressed"],
            description="raw or compressed images. Empty: as in params_file.",
        ),
        DeclareLaunchArgument(
            "segmenter", default_value="", description="Segmenter's name or YAML file. Empty: as in params_file."
        ),
        DeclareLaunchArgument(
            "profile", default_value="", description="Profile that zmask fit made. Empty: as in params_file."
        ),
        DeclareLaunchArgument(
            "device", default_value="", description="auto, cpu, cuda or cuda:N. Empty: as in params_file."
        ),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", choices=["true", "false"], description="Take time from /clock."
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            choices=["true", "false"],
            description="Start the node. It has no lifecycle states: with false only RViz, if asked for, is started.",
        ),
        DeclareLaunchArgument(
            "rviz", default_value="false", choices=["true", "false"], description="Look at it in RViz."
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="What the node logs at least.",
        ),
    ]


def nodes(context: LaunchContext) -> list[Node]:
    """What is started."""
    value = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in arguments()}
    started = []
    if value["autostart"] == "true":
        started.append(defense_node(value))
    if value["rviz"] == "true":
        started.append(rviz(value))
    return started


def defense_node(value: dict[str, str]) -> Node:
    """The node with what was given on the command line, and nothing else, over what is in the file."""
    return Node(
        package="zmask_ros",
        executable="defense_node",
        name="defense_node",
        namespace=value["namespace"],
        parameters=[value["params_file"], {"use_sim_time": value["use_sim_time"] == "true", **overrides(value)}],
        remappings=input_remappings(value["image_topic"]),
        ros_arguments=["--log-level", f"{logger_name(value['namespace'])}:={value['log_level']}"],
        additional_env=publisher_environment(),
        output="screen",
    )


def logger_name(namespace: str) -> str:
    """The name of the node's own logger."""
    return ".".join([part for part in namespace.split("/") if part] + ["defense_node"])


def overrides(value: dict[str, str]) -> dict[str, str]:
    """The parameters that were given on the command line."""
    return {name: value[name] for name in OVERRIDES if value[name]}


def input_remappings(image_topic: str) -> list[tuple[str, str]]:
    """From the names in the node to those of the camera driver."""
    if not image_topic:
        return []
    return [
        ("image_raw", image_topic),
        ("image_raw/compressed", f"{image_topic}/compressed"),
        ("camera_info", str(PurePosixPath(image_topic).with_name("camera_info"))),
    ]


def publisher_environment() -> dict[str, str]:
    """Shared memory that images fit into; what the user has set stays."""
    name = "FASTRTPS_DEFAULT_PROFILES_FILE"
    return {} if os.environ.get(name) else {name: str(SHARE / "config" / "fastdds.xml")}


def rviz(value: dict[str, str]) -> Node:
    """RViz in the namespace of the camera."""
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=value["namespace"],
        arguments=["-d", str(SHARE / "rviz" / "defense.rviz")],
        parameters=[{"use_sim_time": value["use_sim_time"] == "true"}],
        remappings=input_remappings(value["image_topic"])[:1],
        output="log",
    )


def generate_launch_description() -> LaunchDescription:
    """Read by ros2 launch."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=nodes)])

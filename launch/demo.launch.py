"""A drive past a billboard, defended: street_camera -> defense_node, and RViz to look at it."""

from __future__ import annotations

import os

from ament_index_python.packages import get_package_share_path
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription

SHARE = get_package_share_path("zmask_ros")


def arguments() -> list[DeclareLaunchArgument]:
    """What can be said on the command line."""
    return [
        DeclareLaunchArgument("namespace", default_value="front", description="Namespace of the camera."),
        DeclareLaunchArgument(
            "params_file", default_value="", description="YAML file of defense_node's parameters. Empty: the defaults."
        ),
        DeclareLaunchArgument("seed", default_value="", description="Which street. Empty: street_camera's default."),
        DeclareLaunchArgument(
            "picture", default_value="", description="Path of a patch on the billboard. Empty: an advertisement."
        ),
        DeclareLaunchArgument(
            "pace",
            default_value="",
            choices=["", "realtime", "lockstep"],
            description="lockstep waits for the flag of each frame. Empty: street_camera's default.",
        ),
        DeclareLaunchArgument(
            "loop", default_value="false", choices=["true", "false"], description="Drive again and again."
        ),
        DeclareLaunchArgument("bag", default_value="", description="Record into this bag. Empty: record nothing."),
        DeclareLaunchArgument(
            "rviz", default_value="true", choices=["true", "false"], description="Look at it in RViz."
        ),
    ]


def actions(context: LaunchContext) -> list[object]:
    """What is started; everything ends with the drive."""
    value = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in arguments()}
    camera = street_camera(value)
    started: list[object] = [
        defense(value),
        camera,
        RegisterEventHandler(OnProcessExit(target_action=camera, on_exit=[EmitEvent(event=Shutdown())])),
    ]
    if value["bag"]:
        started.append(recorder(value))
    return started


def street_camera(value: dict[str, str]) -> Node:
    """The camera, with what was given on the command line over its own defaults."""
    given: dict[str, object] = {name: value[name] for name in ("picture", "pace") if value[name]}
    if value["seed"]:
        given["seed"] = int(value["seed"])
    return Node(
        package="zmask_ros",
        executable="street_camera",
        namespace=value["namespace"],
        parameters=[{"loop": value["loop"] == "true", "min_subscribers": 2 if value["bag"] else 1, **given}],
        output="screen",
    )


def defense(value: dict[str, str]) -> IncludeLaunchDescription:
    """defense.launch.py."""
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "defense.launch.py")),
        launch_arguments={name: value[name] for name in ("namespace", "rviz", "params_file") if value[name]}.items(),
    )


def recorder(value: dict[str, str]) -> Node:
    """What the camera and the defence publish, into a bag."""
    return Node(
        package="zmask_ros",
        executable="recorder",
        namespace=value["namespace"],
        parameters=[{"path": value["bag"]}],
        output="screen",
    )


def shared_memory() -> SetEnvironmentVariable:
    """For everything that is started: shared memory that images fit into; what the user has set stays."""
    name = "FASTRTPS_DEFAULT_PROFILES_FILE"
    return SetEnvironmentVariable(name, os.environ.get(name) or str(SHARE / "config" / "fastdds.xml"))


def generate_launch_description() -> LaunchDescription:
    """Read by ros2 launch."""
    return LaunchDescription([*arguments(), shared_memory(), OpaqueFunction(function=actions)])

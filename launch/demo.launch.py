"""A drive past a billboard, defended: street_camera -> defense_node, and RViz to show it."""

from __future__ import annotations

from launch_ros.actions import Node

from launch import LaunchDescription
from zmask_ros.launching.actions import (
    Values,
    description,
    for_all,
    shutdown_on_exit,
    typed_parameters,
)
from zmask_ros.launching.arguments import DEMO
from zmask_ros.launching.defense_actions import defense_actions
from zmask_ros.launching.demo import check_files, refuse_several_cameras, street_parameters


def actions(value: Values) -> list[object]:
    """What is started; everything ends with the drive, and with the defense and the recorder that it waits for."""
    check_files(value)
    defense, camera = defense_actions(value), street_camera(value)
    refuse_several_cameras(defense.cameras)
    needed = [defense.node, camera, *([recorder(value)] if value["bag"] else [])]
    return [*(shutdown_on_exit(one) for one in needed), *defense.windows, *needed]


def street_camera(value: Values) -> Node:
    """The camera, with the arguments of the command line over its own defaults."""
    return Node(
        package="zmask_ros",
        executable="street_camera",
        namespace=value["namespace"],
        parameters=[typed_parameters(street_parameters(value))],
        output="screen",
    )


def recorder(value: Values) -> Node:
    """What the camera and the defense publish, into a bag."""
    return Node(
        package="zmask_ros",
        executable="recorder",
        namespace=value["namespace"],
        parameters=[typed_parameters({"path": value["bag"]})],
        output="screen",
    )


def generate_launch_description() -> LaunchDescription:
    """Read by ros2 launch."""
    return description(DEMO, actions, *for_all())

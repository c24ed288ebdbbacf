"""A drive past a billboard, defended: street_camera -> defense_node, and RViz to look at it."""

from __future__ import annotations

from launch_ros.actions import Node

from launch import LaunchDescription
from zmask_ros.launching.actions import (
    Values,
    description,
    ends_everything,
    included_defense,
    shared_memory_for_all,
)
from zmask_ros.launching.arguments import DEMO


def actions(value: Values) -> list[object]:
    """What is started; everything ends with the drive."""
    camera = street_camera(value)
    started: list[object] = [included_defense(value), camera, ends_everything(camera)]
    if value["bag"]:
        started.append(recorder(value))
    return started


def street_camera(value: Values) -> Node:
    """The camera, with what was given on the command line over its own defaults."""
    given: dict[str, object] = {name: value[name] for name in ("picture", "pace") if value[name]}
    if value["seed"]:
        given["seed"] = int(value["seed"])
    # The defence, and whoever else is to see the drive from its first frame on.
    subscribers = 1 + bool(value["bag"]) + (value["rviz"] == "true")
    return Node(
        package="zmask_ros",
        executable="street_camera",
        namespace=value["namespace"],
        parameters=[{"loop": value["loop"] == "true", "min_subscribers": subscribers, **given}],
        output="screen",
    )


def recorder(value: Values) -> Node:
    """What the camera and the defence publish, into a bag."""
    return Node(
        package="zmask_ros",
        executable="recorder",
        namespace=value["namespace"],
        parameters=[{"path": value["bag"]}],
        output="screen",
    )


def generate_launch_description() -> LaunchDescription:
    """Read by ros2 launch."""
    return description(DEMO, actions, *shared_memory_for_all())

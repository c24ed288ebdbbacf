"""The defense of one camera or of several: one node, in a namespace if need be.

The defaults of all parameters are in config/defense.yaml; an argument that is not set changes nothing there.
"""

from __future__ import annotations

from pathlib import Path

from launch_ros.actions import LifecycleNode, Node

from launch import LaunchDescription
from zmask_ros.launching.actions import (
    Values,
    description,
    input_remappings,
    parameter_file,
    share,
    shared_memory,
    typed_parameters,
)
from zmask_ros.launching.arguments import DEFENSE
from zmask_ros.launching.defense import NODE, DefenseLaunch

SIGTERM_TIMEOUT_S = "15"


def nodes(value: Values) -> list[object]:
    """What is started."""
    file = parameter_file(value)
    defense = DefenseLaunch(value, file)
    started: list[object] = [defense_node(value, defense, file)]
    if value["rviz"] == "true":
        started += [rviz(value, defense, camera) for camera in defense.cameras or [""]]
    return started


def defense_node(value: Values, defense: DefenseLaunch, file: Path) -> LifecycleNode:
    """The node with the arguments that are set, and nothing else, over what is in the file."""
    return LifecycleNode(
        package="zmask_ros",
        executable="defense_node",
        name=NODE,
        namespace=value["namespace"],
        parameters=[str(file), typed_parameters(defense.parameters)],
        remappings=[] if defense.cameras else input_remappings(value["image_topic"]),
        ros_arguments=["--log-level", f"{defense.logger}:={value['log_level']}"],
        additional_env=shared_memory(),
        # A busy machine takes longer than the five seconds that launch would wait to end torch.
        sigterm_timeout=SIGTERM_TIMEOUT_S,
        output="screen",
    )


def rviz(value: Values, defense: DefenseLaunch, camera: str) -> Node:
    """RViz in the namespace of a camera."""
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace="/".join(part for part in (value["namespace"].rstrip("/"), camera) if part),
        arguments=["-d", share("rviz/defense.rviz")],
        parameters=[{"use_sim_time": defense.use_sim_time}],
        remappings=input_remappings(defense.image_topic(camera))[:1],
        output="log",
    )


def generate_launch_description() -> LaunchDescription:
    """Read by ros2 launch."""
    return description(DEFENSE, nodes)

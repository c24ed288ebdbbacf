"""What all launch files start: the defense, and RViz to look at it. Only launch files import this: it needs launch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launch_ros.actions import LifecycleNode, Node

from zmask_ros.launched import environment
from zmask_ros.launching.actions import input_remappings, parameter_file, share, shared_memory, typed_parameters
from zmask_ros.launching.arguments import DEFENSE
from zmask_ros.launching.defense import NODE, DefenseLaunch, Values

SIGTERM_TIMEOUT_S = "15"


@dataclass(frozen=True)
class DefenseActions:
    """The defense as it is started.

    Attributes:
        node: the one node, for all cameras.
        windows: RViz for each camera, where it is wanted.
        cameras: the names of several cameras; empty for a single one.
    """

    node: LifecycleNode
    windows: list[Node]
    cameras: list[str]

    @property
    def all(self) -> list[object]:
        """Everything that is started."""
        return [self.node, *self.windows]


def defense_actions(value: Values, **overrides: str) -> DefenseActions:
    """The defense with its arguments as in ``overrides``, in ``value``, or by default.

    Raises:
        ZmaskError: the arguments do not fit together, or to the file of parameters, or that cannot be read.
    """
    value = {one.name: one.default or "" for one in DEFENSE} | value | overrides
    file = parameter_file(value)
    defense = DefenseLaunch(value, file)
    defense.check_files()
    cameras = defense.cameras or [""] if value["rviz"] == "true" else []
    return DefenseActions(
        _node(value, defense, file), [_window(value, defense, camera) for camera in cameras], defense.cameras
    )


def _node(value: Values, defense: DefenseLaunch, file: Path | None) -> LifecycleNode:
    """The node with the arguments that are set, and nothing else, over what is in the file.

    Without a file there is none: the installed one says nothing but the defaults, and would hide what an including
    launch file has set by SetParameter.
    """
    return LifecycleNode(
        package="zmask_ros",
        executable="defense_node",
        name=NODE,
        namespace=value["namespace"],
        parameters=[*([str(file)] if file is not None else []), typed_parameters(defense.parameters)],
        remappings=[] if defense.cameras else input_remappings(value["image_topic"]),
        ros_arguments=["--log-level", f"{defense.logger}:={value['log_level']}"],
        additional_env=shared_memory() | environment(),
        # A busy machine takes longer than the five seconds that launch would wait to end torch.
        sigterm_timeout=SIGTERM_TIMEOUT_S,
        output="screen",
    )


def _window(value: Values, defense: DefenseLaunch, camera: str) -> Node:
    """RViz in the namespace of a camera."""
    use_sim_time = defense.use_sim_time
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace="/".join(part for part in (value["namespace"].rstrip("/"), camera) if part),
        arguments=["-d", share("rviz/defense.rviz")],
        parameters=[] if use_sim_time is None else [{"use_sim_time": use_sim_time}],
        remappings=input_remappings(defense.image_topic(camera))[:1],
        output="log",
    )

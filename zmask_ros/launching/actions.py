"""From the values of arguments to the actions of a launch. Only launch files import this: it needs launch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

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
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.parameter_descriptions import ParameterValue

from launch import Action, LaunchContext, LaunchDescription
from zmask_ros.flags.topics import TRANSPORTS
from zmask_ros.launching.arguments import DEFENSE, Argument
from zmask_ros.launching.defense import NODE, PUSHED_NAMESPACE, Values

# Jazzy's Fast DDS reads the first, its successors the second.
PROFILES_FILE = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def share(relative: str) -> str:
    """The path of an installed file, such as ``rviz/defense.rviz``."""
    return str(Path(get_package_share_path("zmask_ros")) / relative)


def parameter_file(value: Values) -> Path:
    """The file of parameters that is named, or else the installed one."""
    return Path(value["params_file"] or share("config/defense.yaml")).expanduser()


def description(
    arguments: Sequence[Argument], started: Callable[[Values], list[object]], *before: object
) -> LaunchDescription:
    """A launch with these arguments; ``started`` makes actions of their values, and ``before`` comes before those."""

    def actions(context: LaunchContext) -> list[object]:
        values = {one.name: LaunchConfiguration(one.name).perform(context) for one in arguments}
        return started({PUSHED_NAMESPACE: context.launch_configurations.get(PUSHED_NAMESPACE, ""), **values})

    declared = [
        DeclareLaunchArgument(
            one.name, default_value=one.default, description=one.description, choices=one.choices or None
        )
        for one in arguments
    ]
    return LaunchDescription([*declared, *before, OpaqueFunction(function=actions)])


def included_defense(value: Values, **overrides: str) -> IncludeLaunchDescription:
    """defense.launch.py with its arguments as in ``overrides``, in ``value``, or by default.

    launch hands down what is set on the command line, also what the including file has no argument for.
    """
    passed = {one.name: value.get(one.name, one.default or "") for one in DEFENSE} | overrides
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(share("launch/defense.launch.py")), launch_arguments=passed.items()
    )


def is_defense_node(action: object) -> bool:
    """Whether an action is the node of an included defense.launch.py."""
    return getattr(action, "node_executable", "") == NODE


def shutdown_on_exit(process: Action | Callable[[Action], bool]) -> RegisterEventHandler:
    """End the launch when this process has ended."""

    def ends(_event: ProcessExited, context: LaunchContext) -> list[EmitEvent]:
        # A second shutdown would be an error of launch_ros.
        return [] if context.is_shutdown else [EmitEvent(event=Shutdown())]

    return RegisterEventHandler(OnProcessExit(target_action=process, on_exit=ends))


def typed_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters in which text stays text: launch_ros would take a file called 12 for a number."""
    kinds: dict[type, Any] = {str: str, list: list[str]}
    return {
        name: ParameterValue(value, value_type=kinds[type(value)]) if type(value) in kinds else value
        for name, value in parameters.items()
    }


def input_remappings(image_topic: str) -> list[tuple[str, str]]:
    """From the names in a node to those of the camera driver."""
    if not image_topic:
        return []
    return [
        ("image_raw", image_topic),
        *((f"image_raw/{transport}", f"{image_topic}/{transport}") for transport in TRANSPORTS),
        ("camera_info", str(PurePosixPath(image_topic).with_name("camera_info"))),
    ]


def shared_memory() -> dict[str, str]:
    """Environment of a publisher: shared memory that images fit into; what the user has set stays."""
    return {name: os.environ.get(name) or share("config/fastdds.xml") for name in PROFILES_FILE}


def shared_memory_for_all() -> list[SetEnvironmentVariable]:
    """The same for everything that the launch file starts."""
    return [SetEnvironmentVariable(name, value) for name, value in shared_memory().items()]

"""From the values of arguments to the actions of a launch. Only launch files import this: it needs launch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_path
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration, SubstitutionFailure
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import Action, Event, EventHandler, LaunchContext, LaunchDescription
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.topics import TRANSPORTS
from zmask_ros.launched import environment
from zmask_ros.launching.arguments import Argument, refuse_unknown
from zmask_ros.launching.defense import PUSHED_NAMESPACE, Values
from zmask_ros.resources import fast_dds_profile


def share(relative: str) -> str:
    """The path of an installed file, such as ``rviz/defense.rviz``."""
    return str(Path(get_package_share_path("zmask_ros")) / relative)


def parameter_file(value: Values) -> Path | None:
    """The file of parameters that is named; None where the node's own defaults count."""
    return Path(value["params_file"]).expanduser() if value["params_file"] else None


def description(
    arguments: Sequence[Argument], started: Callable[[Values], list[object]], *before: object
) -> LaunchDescription:
    """A launch with these arguments; ``started`` makes actions of their values, and ``before`` comes before those.

    Everything is checked before anything is started: the arguments, and that every executable is there.
    """

    def actions(context: LaunchContext) -> list[object]:
        try:
            refuse_unknown(_given_arguments(context), arguments)
            found = started(_values(context, arguments))
            _look_up(found, context)
        except ZmaskError as error:
            return _refusal(error)
        return found

    declared = [DeclareLaunchArgument(one.name, default_value=one.default, description=one.help) for one in arguments]
    return LaunchDescription([*declared, *before, OpaqueFunction(function=actions)])


def _values(context: LaunchContext, arguments: Sequence[Argument]) -> Values:
    values = {one.name: one.checked(LaunchConfiguration(one.name).perform(context)) for one in arguments}
    return {PUSHED_NAMESPACE: context.launch_configurations.get(PUSHED_NAMESPACE, ""), **values}


def _given_arguments(context: LaunchContext) -> set[str]:
    """Names of what the present launch file was given, on the command line or by the file that includes it.

    They cannot be told from what was set further out by ``launch_configurations``, but by the actions that include it.
    """
    known = context.get_locals_as_dict()
    here, top = known.get("current_launch_file_path"), getattr(known.get("event"), "launch_description", None)
    if here is None or top is None:
        return set()
    return {
        perform_substitutions(context, normalize_to_list_of_substitutions(name))
        for include in _includes(top)
        if include.launch_description_source.location == here
        for name, _ in include.launch_arguments
    }


def _includes(entity: LaunchDescriptionEntity) -> Iterator[IncludeLaunchDescription]:
    if isinstance(entity, IncludeLaunchDescription):
        yield entity
    inner = entity.get_sub_entities() if isinstance(entity, Action) else getattr(entity, "entities", [])
    for one in inner:
        yield from _includes(one)


def _look_up(actions: Sequence[object], context: LaunchContext) -> None:
    """Find every executable that is to be started.

    Raises:
        ZmaskError: one is not there.
    """
    for action in actions:
        if isinstance(action, ExecuteProcess) and not _is_there(action, context):
            name = action.node_package if isinstance(action, Node) else perform_substitutions(context, action.cmd[0])
            instead = ", or say rviz:=false" if name == "rviz2" else ""
            raise ZmaskError(f"{name} is not installed, and nothing is started without it: install it{instead}.")


def _is_there(process: ExecuteProcess, context: LaunchContext) -> bool:
    try:
        return shutil.which(perform_substitutions(context, process.cmd[0])) is not None
    except (PackageNotFoundError, SubstitutionFailure):
        return False


def has_ros2_bag() -> bool:
    """Whether `ros2 bag` is installed: `ros2` alone would show its usage, and end with 0."""
    try:
        get_package_prefix("ros2bag")
    except PackageNotFoundError:
        return False
    return shutil.which("ros2") is not None


class _Refused(Event):
    name = "zmask_ros.launching.Refused"


def _refusal(error: ZmaskError) -> list[object]:
    """What ends the launch with this error, and with everything that others have started before.

    While a description is visited, an exception makes launch forget the processes that it has begun to start, and
    they outlive it. So it is raised in the turn of an event of its own.
    """

    def fail(_context: LaunchContext) -> None:
        raise error

    refused = _Refused()
    handler = EventHandler(matcher=lambda event: event is refused, entities=[OpaqueFunction(function=fail)])
    return [RegisterEventHandler(handler), EmitEvent(event=refused)]


def shutdown_on_exit(process: Action) -> RegisterEventHandler:
    """End the launch when this process has ended: with an error where it has ended with one."""

    def ends(event: ProcessExited, context: LaunchContext) -> list[EmitEvent]:
        if context.is_shutdown:
            # A second shutdown would be an error of launch_ros.
            return []
        if event.returncode:
            raise ZmaskError(f"{event.process_name} has ended with exit code {event.returncode}: see what it said.")
        return [EmitEvent(event=Shutdown())]

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
    return {name: os.environ.get(name) or file for name, file in fast_dds_profile().items()}


def for_all() -> list[SetEnvironmentVariable]:
    """Shared memory, and an end with the launch, for everything that the launch file starts."""
    return [SetEnvironmentVariable(name, value) for name, value in (shared_memory() | environment()).items()]

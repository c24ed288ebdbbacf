"""The defence of one camera or of several: one node, in a namespace if need be.

The defaults of all parameters are in config/defense.yaml; an argument that is not given changes nothing there.
"""

from __future__ import annotations

from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from zmask_ros.launching.actions import Values, description, input_remappings, share, shared_memory
from zmask_ros.launching.arguments import DEFENSE

# Arguments that are parameters of the node as well.
TEXTS = ("segmenter", "profile", "device", "image_transport")
SWITCHES = ("use_sim_time", "autostart")
END_S = "15"
# Of each of several cameras, where {camera} is in them.
OF_EACH = ("image_topic", "profile")


def nodes(value: Values) -> list[object]:
    """What is started."""
    started: list[object] = [defense_node(value)]
    if value["rviz"] == "true":
        started += [rviz(value, camera) for camera in cameras(value) or [""]]
    return started


def defense_node(value: Values) -> LifecycleNode:
    """The node with what was given on the command line, and nothing else, over what is in the file."""
    return LifecycleNode(
        package="zmask_ros",
        executable="defense_node",
        name="defense_node",
        namespace=value["namespace"],
        parameters=[value["params_file"] or share("config/defense.yaml"), parameters(value)],
        remappings=[] if cameras(value) else input_remappings(value["image_topic"]),
        ros_arguments=["--log-level", f"{logger_name(value['namespace'])}:={value['log_level']}"],
        additional_env=shared_memory(),
        # A busy machine takes longer than the five seconds that launch would wait to end torch.
        sigterm_timeout=END_S,
        output="screen",
    )


def cameras(value: Values) -> list[str]:
    """The names of several cameras; none for the only one."""
    return [name.strip() for name in value["cameras"].split(",") if name.strip()]


def logger_name(namespace: str) -> str:
    """The name of the node's own logger."""
    return ".".join([part for part in namespace.split("/") if part] + ["defense_node"])


def parameters(value: Values) -> dict[str, object]:
    """The parameters that were given on the command line.

    Raises:
        ValueError: several cameras were given the same topic.
    """
    named = cameras(value)
    if len(named) > 1 and value["image_topic"] and "{camera}" not in value["image_topic"]:
        raise ValueError("image_topic has to have {camera} in it when there are several cameras.")
    given: dict[str, object] = {name: text(value[name]) for name in TEXTS if value[name]}
    given |= {name: value[name] == "true" for name in SWITCHES if value[name]}
    if named:
        given["cameras"] = named
        for name in OF_EACH:
            if "{camera}" in value[name] or (name == "image_topic" and value[name]):
                given.pop(name, None)
                given |= {f"{camera}.{name}": text(of_camera(value[name], camera)) for camera in named}
    return given


def text(value: str) -> ParameterValue:
    """A parameter that stays text, whatever it looks like."""
    return ParameterValue(value, value_type=str)


def of_camera(value: str, camera: str) -> str:
    """With the camera's name where {camera} stands."""
    return value.replace("{camera}", camera)


def rviz(value: Values, camera: str) -> Node:
    """RViz in the namespace of a camera."""
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace="/".join(part for part in (value["namespace"], camera) if part),
        arguments=["-d", share("rviz/defense.rviz")],
        parameters=[{"use_sim_time": value["use_sim_time"] == "true"}],
        remappings=input_remappings(of_camera(value["image_topic"], camera))[:1],
        output="log",
    )


def generate_launch_description() -> LaunchDescription:
    """Read by ros2 launch."""
    return description(DEFENSE, nodes)

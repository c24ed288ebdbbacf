"""A recorded drive, defended: a player of bags with its time -> defense_node, and RViz to show it."""

from __future__ import annotations

from launch.actions import ExecuteProcess, RegisterEventHandler
from launch_ros.actions import Node
from launch_ros.event_handlers import OnStateTransition

from launch import LaunchDescription
from zmask_ros.launching.actions import (
    Values,
    description,
    for_all,
    has_ros2_bag,
    shutdown_on_exit,
    typed_parameters,
)
from zmask_ros.launching.arguments import REPLAY
from zmask_ros.launching.defense_actions import defense_actions
from zmask_ros.launching.replay import check_bag, player_parameters, ros2_bag_words


def actions(value: Values) -> list[object]:
    """What is started: the bag when the node is active, so that no frame is lost; everything ends with either."""
    check_bag(value)
    defense, player = defense_actions(value, use_sim_time="true"), bag_player(value)
    active = OnStateTransition(goal_state="active", entities=[player], handle_once=True)
    return [
        RegisterEventHandler(active),
        shutdown_on_exit(player),
        shutdown_on_exit(defense.node),
        *defense.all,
    ]


def bag_player(value: Values) -> ExecuteProcess:
    """What plays the bag: ros2 bag, or our own player where it is not installed."""
    if has_ros2_bag():
        return ExecuteProcess(cmd=ros2_bag_words(value), output="screen")
    return Node(
        package="zmask_ros",
        executable="player",
        parameters=[typed_parameters(player_parameters(value))],
        output="screen",
    )


def generate_launch_description() -> LaunchDescription:
    """Read by ros2 launch."""
    return description(REPLAY, actions, *for_all())
